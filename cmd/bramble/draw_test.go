package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"bramble/node/orders/draw"
)

// The promised round comes from a relay over https, and only if the beacon signed it: the relay is not trusted.
func TestARoundIsFetched(t *testing.T) {
	const signature = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
	reply, status := "", http.StatusOK
	relay := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v/"+draw.QuicknetChain+"/public/1000" {
			t.Errorf("%s was asked for", r.URL)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "http://127.0.0.1:9/")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, reply)
	}))
	defer relay.Close()
	for _, tt := range []struct {
		status       int
		reply, fault string
	}{
		{200, fmt.Sprintf(`{"round":1000,"randomness":"fe29","signature":%q}`, signature), ""},
		{200, fmt.Sprintf(`{"round":1001,"signature":%q}`, signature), "this ballot needs round 1000"},
		{200, fmt.Sprintf(`{"round":1000,"signature":%q}`, strings.Replace(signature, "5e39", "5e38", 1)), "the signature is not the beacon's"},
		{200, `{"round":1000,"signature":"b4"}`, "96 small hex digits"},
		{200, `{"pad":"` + strings.Repeat("x", maxRound) + `"}`, "EOF"},
		{200, "hello", "invalid character"},
		{302, "{}", "302"},
		{404, "{}", "404 Not Found; another relay can be given with --from"},
	} {
		reply, status = tt.reply, tt.status
		text, err := fetchRound(t.Context(), relay.Client().Transport, relay.URL+"/v/", 1000)
		if tt.fault == "" && (err != nil || text != "drand quicknet 1000 "+signature) || tt.fault != "" && (err == nil || text != "" || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%d %.90s: %q, %v", tt.status, tt.reply, text, err)
		}
	}
	if _, err := fetchRound(t.Context(), relay.Client().Transport, "http://127.0.0.1:9", 1000); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("plain http: %v", err)
	}
	if _, err := fetchRound(t.Context(), http.DefaultTransport, relay.URL+"/v", 1000); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a strange certificate: %v", err)
	}
}

// draw verify prints what nobody can see from the file: the promise and the hashes that people saved, and by which clock the list was fixed.
func TestDrawVerifyPrintsWhatToCompare(t *testing.T) {
	for name, wants := range map[string][]string{
		"holds-dice":            {"The draw is correct: 6 entries", "hash of the promise:\npi, which closed at 2012-02-29T07:00:00Z\ndice 10\n53502dd627908c77b95639e87dd4adcc49bb9e8401288b9be00c234240a6c580\n0c941b23"},
		"holds-drand":           {"drand " + draw.QuicknetChain + " 1000\n", "\n196b3129"},
		"holds-none":            {"\ncommitment\n", "There is no public randomness"},
		"holds-dice-held-clock": {"The ledger's clock was held: when it showed 2012-02-29T07:00:01Z and the list\nwas fixed, most boards' own clocks showed 2012-02-29T07:10:01Z."},
		"holds-dice-no-clock":   {"most boards' own clocks agreed on no time"},
	} {
		var out strings.Builder
		if err := verifyDraw(world{out: &out}, filepath.Join("..", "..", "node", "orders", "draw", "testdata", "files", name+".json")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in %s", name, want, out.String())
			}
		}
	}
}

// A program learns from the exit status of draw verify whether the draw is correct: 3 is a file without a result.
func TestDrawVerifyHasAnExitStatus(t *testing.T) {
	for name, want := range map[string]int{"holds-dice": exitOK, "undrawn-open": exitPending, "undrawn-listed": exitPending, "winner-swapped": exitFailed, "listed-at-no-time": exitFailed, "json-cut": exitFailed} {
		if code, out, failure := bramble(t, nil, "draw", "verify", filepath.Join("..", "..", "node", "orders", "draw", "testdata", "files", name+".json")); code != want || (code == exitOK) != hasWords(out, "The draw is correct") {
			t.Errorf("%s: exit %d, want %d\n%s%s", name, code, want, out, failure)
		}
	}
}
