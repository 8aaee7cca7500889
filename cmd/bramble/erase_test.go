//go:build unix

package main

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// findFiles returns the files below a folder that have a text.
func findFiles(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // a working copy that is just replaced
		}
		if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte(text)) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// With the commands of an operator: all links end, and a person is erased from every file of the rack, also with the
// form that was refused.
func TestLinksEndAndPeopleAreErased(t *testing.T) {
	o := startOperatorLab(t, 9, "", "")
	to := o.submitForm("Acceptedada", "forgotten@buyer.example", 3, func(status int, _ string) bool { return status == http.StatusSeeOther })
	refusal := func(status int, body string) bool { return status != http.StatusSeeOther && status < 500 }
	o.submitForm("Refusedada", "forgotten@buyer.example", 3, refusal)
	kept := o.submit("Otherbob", 1)
	receipt := func() (int, string) {
		t.Helper()
		reply, err := o.client.Get(o.Boards[1].HTTPURL + to)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		body, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(body)
	}
	if status, body := receipt(); status != http.StatusOK || !strings.Contains(body, "Acceptedada") {
		t.Fatalf("%s: %d\n%s", to, status, body)
	}
	o.eventually(1, "Links from before stay valid.", "orders", "relink")
	if out := o.want(2, "Links of receipts that end: 2. Mails with the new link: 0", "orders", "relink", "--revoke"); !hasWords(out, "To do it: bramble orders relink --revoke --yes") {
		t.Error(out)
	}
	if status, _ := receipt(); status != http.StatusOK {
		t.Errorf("after a dry run: %d", status)
	}
	o.want(2, "Done. A new secret signs the links of receipts. Links of receipts that end: 2.", "orders", "relink", "--revoke", "--yes")
	if status, body := receipt(); status != http.StatusGone || !strings.Contains(body, "This link has ended") || strings.Contains(body, "ada") {
		t.Errorf("an ended link: %d\n%s", status, body)
	}
	o.eventually(3, "rotate the secret of receipts, end all links", "orders", "audit")

	state := filepath.Join(o.folder, "state")
	for _, name := range []string{"Acceptedada", "Refusedada"} {
		if len(findFiles(t, state, name)) == 0 {
			t.Fatalf("%s is in no file: the test looks for the wrong text", name)
		}
	}
	tagged := o.submit("Taggedcarl+a", 1)
	if code, out, err := o.run(2, "orders", "erase", "taggedcarl@buyer.example", "forgotten@BUYER.example"); code != 2 || !strings.Contains(out, "open") ||
		!hasWords(out, "taggedcarl@buyer.example: no order has personal data of exactly this.") || !hasWords(out, "stay. Name them to erase them: "+tagged) ||
		!strings.Contains(out, "forgotten@buyer.example") || !strings.Contains(err, "nothing was erased") {
		t.Errorf("exit %d\n%s%s", code, out, err)
	}
	if status, body := receipt(); status != http.StatusGone || strings.Contains(body, "erased") {
		t.Errorf("after a question without an answer: %d\n%s", status, body)
	}
	for _, bad := range []string{"a b@buyer.example", ""} { // none is erased, although the first could be
		if code, out, err := o.run(2, "orders", "erase", "forgotten@buyer.example", bad, "--yes"); code == 0 || strings.Contains(out, "Erased") || !strings.Contains(err, "e-mail address") {
			t.Errorf("erase with %q: exit %d\n%s%s", bad, code, out, err)
		}
	}
	o.want(3, "Erased 1 order.", "orders", "erase", "taggedcarl@buyer.example", "forgotten@buyer.example", "--yes", "--no-wait")
	o.want(2, "Taggedcarl+a", "orders", "show", tagged)
	if code, _, err := o.run(1, "orders", "erase", "ABCD-EFGH-JKM", "--yes"); code != 1 || err == "" {
		t.Errorf("an unknown reference: exit %d, %s", code, err)
	}
	if out := o.want(1, "forgotten@buyer.example: no order has personal data of exactly this. Erased 0 orders.", "orders", "erase", "forgotten@buyer.example"); !hasWords(out, "Rewritten: ") || hasWords(out, "Not yet") {
		t.Error(out)
	}
	for _, text := range []string{"Acceptedada", "Refusedada", "forgotten@buyer"} {
		if files := findFiles(t, state, text); len(files) > 0 {
			t.Errorf("%s is in %s", text, strings.Join(files, ", "))
		}
	}
	o.want(2, "Otherbob", "orders", "show", kept)
}
