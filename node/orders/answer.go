package orders

// answerForm is the first byte of an answer: the version of its encoding.
const answerForm = 1

// Encode returns the answer's bytes.
func (a Answer) Encode() []byte {
	w := encoder{data: make([]byte, 0, 40)}
	w.byte(answerForm)
	w.byte(byte(a.Outcome))
	w.uint(uint64(a.Order))
	w.int(int64(a.Position))
	w.byte(byte(a.State))
	w.time(a.Opens)
	w.int(a.Total)
	w.int(int64(a.Remaining))
	w.int(int64(a.Count))
	return w.data
}

// DecodeAnswer decodes the output of Answer.Encode, and nothing else. The error is ErrAnswer.
func DecodeAnswer(data []byte) (Answer, error) {
	r := decoder{data: data}
	form := r.byte()
	a := Answer{
		Outcome:   Outcome(r.byte()),
		Order:     r.readID(),
		Position:  r.count(),
		State:     SaleState(r.byte()),
		Opens:     r.time(),
		Total:     r.int(),
		Remaining: r.count(),
		Count:     r.count(),
	}
	if form != answerForm || !r.done() {
		return Answer{}, ErrAnswer
	}
	return a, nil
}
