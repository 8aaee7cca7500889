package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// outlook is what the boards' answers mean for a ledger without a leader.
type outlook struct {
	fullest string   // the board to recover it on, "" if none that answers has an entry
	sound   []string // names of the voters that answer as the servers that they were
	off     []string // of those whose boards do not answer
	lost    []string // of those that forgot: their boards answer as other servers, or with older files
	apart   []string // boards with entries that the fullest one lacks
}

// newOutlook judges by the voters of the fullest board. hellos are all answers, this board's too.
func newOutlook(hellos []helloResponse, id ledgerID) outlook {
	fullest := findFullest(hellos, id)
	o := outlook{fullest: fullest.Server.Name}
	isVoter := func(id string) bool {
		return slices.ContainsFunc(fullest.Voters, func(s raftServer) bool { return s.ID == id })
	}
	for _, voter := range fullest.Voters {
		list := &o.off
		for _, hello := range hellos {
			switch {
			case hello.Server.ID == voter.ID && hello.Ledger == id && !hello.Accused:
				list = &o.sound
			case list == &o.off && (hello.Server.ID == voter.ID || hello.Server.Name == voter.Name && !isVoter(hello.Server.ID)):
				list = &o.lost
			}
		}
		*list = append(*list, voter.Name)
	}
	for _, hello := range hellos {
		if hello.Ledger == id && fullest.Log.Last > 0 && hello.Log.countAhead(fullest.Log) > 0 { // an older program does not say
			o.apart = append(o.apart, hello.Server.Name)
		}
	}
	return o
}

// describe says why there is no leader and what to do, in sentences without the last full stop.
func (o outlook) describe() string {
	n := len(o.sound) + len(o.off) + len(o.lost) // 0 if the fullest board has an older program
	text, off := fmt.Sprintf("%d of %d voters can vote. ", len(o.sound), n), strings.Join(o.off, ", ")
	if len(o.lost) > 0 {
		text += fmt.Sprintf("These lost files or have older ones, so they cannot vote: %s. ", strings.Join(o.lost, ", "))
	}
	switch {
	case n == 0:
		text = "half of the voters or fewer can be reached. Start the missing boards. Only if their cards are lost for good"
	case len(o.sound) >= majorityOf(n):
		return text + "They elect a leader within a minute; if not, look for a bad cable"
	case len(o.sound)+len(o.off) >= majorityOf(n):
		text += "Start the missing boards: " + off + ". Then it goes on by itself"
		if len(o.apart)+len(o.lost) == 0 {
			text += ", and nothing is lost"
		}
		text += ". Only if their cards are lost for good"
	case off != "":
		text += "The missing boards make no majority, but may have later entries, so start them first: " + off + ". The one way out"
	default:
		text += "No board is missing, and waiting does not help. The one way out"
	}
	text += ": bramble ledger recover " + o.fullest
	if len(o.apart) > 0 {
		text += fmt.Sprintf(". The logs went apart: %s may have orders that %s lacks; without --accept-loss, recover only says how many", strings.Join(o.apart, ", "), o.fullest)
	}
	return text
}

// surveyLeaderless finds out which board is which server now: without a leader, raft
// looks for the voters, and they may have new names.
func (l *Ledger) surveyLeaderless(ctx context.Context, id ledgerID) {
	hellos := l.callHello(ctx)
	own, leader := l.handleHello(helloRequest{}), helloResponse{}
	for i, hello := range hellos {
		if !l.noteHello(id, hello) {
			hellos[i].Accused = true
		} else if hello.Leading && hello.Ledger == id {
			leader = hello
		}
	}
	l.mu.Lock()
	hellos = append(hellos, own)
	l.survey.reachable, l.survey.outlook, l.survey.offer = len(hellos), newOutlook(hellos, id), offerFounding(hellos)
	l.survey.leadsApart, l.survey.nameConflicts = leader.Server.Name, leader.NameConflicts
	l.mu.Unlock()
}
