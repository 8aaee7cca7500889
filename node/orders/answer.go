package orders

// answerForm is the first byte of an answer: the version of its encoding.
const answerForm = 1

// Encode returns the answer's bytes.
func (a Answer) Encode() []byte { return encodeAs(answerForm, &a) }

// DecodeAnswer decodes the output of Answer.Encode, and nothing else. The error is ErrAnswer.
func DecodeAnswer(data []byte) (Answer, error) {
	r := &decoder{data: data}
	form := r.byte()
	if a := readFields[Answer](fieldCodec{from: r}); form == answerForm && r.done() {
		return a, nil
	}
	return Answer{}, ErrAnswer
}

func (a *Answer) codeFields(c fieldCodec) {
	c.codeAll(&a.Outcome, &a.Order, &a.Position, &a.State, &a.Opens, &a.Total, &a.Remaining, &a.Count)
}
