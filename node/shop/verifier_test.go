package shop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"bramble/node/orders"
	"bramble/node/orders/draw"
)

// pageFile is a file that the page judged, as JavaScript returns it.
type pageFile struct{ Kind, Says string }

func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%.200s: %v", expression, err)
	}
	return v
}

// The page judges the files of testdata/files in the words of draw.Verify, also when it was saved and is opened
// without a server. Only drand's signature is beyond it.
func TestBothVerifiersAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	page, err := filepath.Abs(filepath.Join("page", "verify.html"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := browser(t, true)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("file://"+filepath.ToSlash(page))); err != nil {
		t.Fatal(err)
	}
	// The vectors of FIPS 180-4, and every length around the end of a block, against Go.
	for text, want := range map[string]string{
		`""`:    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		`"abc"`: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		`"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"`: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
		`"a".repeat(1000000)`: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	} {
		if got := evaluate[string](t, ctx, "sha256("+text+")"); got != want {
			t.Errorf("SHA-256 of %s: %s", text, got)
		}
	}
	lengths := evaluate[[]string](t, ctx, `Array.from({length: 200}, (_, n) => sha256("x".repeat(n)))`)
	for n, got := range lengths {
		if sum := sha256.Sum256([]byte(strings.Repeat("x", n))); got != hex.EncodeToString(sum[:]) {
			t.Errorf("SHA-256 of %d bytes: %s", n, got)
		}
	}
	folder := filepath.Join("..", "orders", "draw", "testdata", "files")
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(names) < 60 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		got := evaluate[pageFile](t, ctx, "(({kind, says}) => ({Kind: kind, Says: says}))(checkDraw("+string(quoted)+"))")
		f, err := draw.Read(strings.NewReader(string(text)))
		if err == nil {
			err = draw.Verify(f)
		}
		want := pageFile{Kind: "holds"}
		if doubts := evaluate[[]string](t, ctx, "(({kind, file}) => kind === 'wrong' ? [] : doubts(file))(checkDraw("+string(quoted)+"))"); !errors.Is(err, draw.ErrFile) && !slices.Equal(doubts, draw.Doubts(f)) {
			t.Errorf("%s: the page doubts %q, Go %q", filepath.Base(name), doubts, draw.Doubts(f))
		}
		switch {
		case strings.HasSuffix(name, "signature-wrong.json"), err == nil && f.Promised.Kind == draw.Drand:
			want = pageFile{"unfinished", "the beacon's signature is not checked here"}
		case err != nil && strings.HasPrefix(err.Error(), draw.ErrUndrawn.Error()):
			want = pageFile{"undrawn", err.Error()}
		case err != nil:
			want = pageFile{"wrong", strings.TrimPrefix(err.Error(), draw.ErrFile.Error()+": ")}
		}
		if strings.HasPrefix(want.Says, "reading it") {
			want.Says, got.Says = "reading it", got.Says[:min(len(got.Says), len("reading it"))]
		}
		if got != want {
			t.Errorf("%s: the page says %+v, Go %+v", filepath.Base(name), got, want)
		}
	}
	file, err := filepath.Abs(filepath.Join(folder, "holds-drand.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []chromedp.Action[chromedp.Void]{chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}), chromedp.WaitVisible(chromedp.CSS("#answer a"))} {
		if _, err := chromedp.Run(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("#answer"))); err != nil || !strings.HasPrefix(got, "Not finished") || strings.Contains(got, "holds") ||
		!strings.Contains(got, "bramble draw verify draw.json") || !strings.Contains(got, "/public/1000") || !strings.Contains(got, "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd") {
		t.Errorf("%q, %v", got, err)
	}
	// A fault of the page's own program ends the check, and shows no part of the file.
	evaluate[bool](t, ctx, "(checkDraw = () => { throw new RangeError('a fault') }, showBytes(new Uint8Array()), true)")
	if _, err := chromedp.Run(ctx, chromedp.WaitVisible(chromedp.CSS("#answer.wrong"))); err != nil {
		t.Fatal(err)
	}
	if got := evaluate[string](t, ctx, `byID("answer").textContent + byID("compare").hidden`); !strings.HasPrefix(got, "This file cannot be checked") || !strings.HasSuffix(got, "true") {
		t.Errorf("after a fault the page says %q", got)
	}
}

// The page at a rack's link checks that rack's file, under the policy that the shop sends, and finds a reference.
func TestTheVerifierInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	x := openSale(t, func(p *Product) { p.Mode, p.Draw, p.Dice = orders.Ballot, draw.Dice, 20 })
	text, err := os.ReadFile(filepath.Join("..", "orders", "draw", "testdata", "files", "holds-dice.json"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := draw.Read(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	x.book.files[slug] = f
	x.sale.Draw.At = x.sale.Closes.Add(time.Minute)
	x.book.now = x.sale.Closes.Add(time.Hour)
	at := strings.TrimSuffix(serveOrderPage(t, x), "/order")
	ctx := browser(t, true)
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, a := range actions {
			if _, err := chromedp.Run(ctx, a); err != nil {
				t.Fatal(err)
			}
		}
	}
	do(chromedp.Navigate(at+"/draw"), chromedp.Click(chromedp.CSS(`a[href$="/verify"]`)), chromedp.WaitVisible(chromedp.CSS("#compare")))
	read := func(selector, want string) {
		t.Helper()
		if got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(selector))); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v, want %q", selector, got, err, want)
		}
	}
	read("#answer", "The draw holds")
	read("#facts", f.List)
	do(chromedp.SendKeys(chromedp.CSS("#reference"), strings.ToLower(f.Winners[0])))
	read("#found", f.Winners[0]+" is in the list, for 2, and won.")
	f.Winners[0], f.Losers[0] = f.Losers[0], f.Winners[0]
	x.book.files[slug] = f
	do(chromedp.Navigate(at+"/verify"), chromedp.WaitVisible(chromedp.CSS("#answer.wrong")))
	read("#answer", "The first thing that is wrong: winner 1 is not the one that the draw results in.")
}

// Files with one change each, drawn from a seed, get the same answer from both. Only an unreadable file of another version
// is refused with one of two reasons.
func TestBothVerifiersAgreeOnChangedFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	page, err := filepath.Abs(filepath.Join("page", "verify.html"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := browser(t, true)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("file://"+filepath.ToSlash(page))); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(14, 2026))
	var files, texts []string
	for _, name := range []string{"holds-dice", "holds-drand", "holds-none", "undrawn-listed"} {
		text, err := os.ReadFile(filepath.Join("..", "orders", "draw", "testdata", "files", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, string(text))
	}
	added := []string{" ", "\n", "0", "-", "null", "{}", "[]", `""`, "1", "Z", ".5", "e1", `\u0041`, `\"`, ","}
	for range 4000 {
		text := files[random.IntN(len(files))]
		i := random.IntN(len(text))
		j := min(len(text), i+1+random.IntN(12))
		switch random.IntN(4) {
		case 0:
			text = text[:i] + string(rune(' '+random.IntN(95))) + text[i+1:]
		case 1:
			text = text[:i] + text[j:]
		case 2:
			text = text[:j] + text[i:]
		case 3:
			text = text[:i] + added[random.IntN(len(added))] + text[i:]
		}
		texts = append(texts, text)
	}
	quoted, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	same := func(says string) string {
		for _, unreadable := range []string{"reading it", "version "} {
			if strings.HasPrefix(says, unreadable) {
				return unreadable[:1]
			}
		}
		return says
	}
	held := 0
	for i, got := range evaluate[[]pageFile](t, ctx, string(quoted)+".map(text => (({kind, says}) => ({Kind: kind, Says: says}))(checkDraw(text)))") {
		f, err := draw.Read(strings.NewReader(texts[i]))
		if err == nil {
			err = draw.Verify(f)
		}
		says := ""
		if err != nil {
			says = strings.TrimPrefix(err.Error(), draw.ErrFile.Error()+": ")
		}
		if got.Kind == "holds" || got.Kind == "unfinished" {
			held++
		}
		if got.Kind == "unfinished" {
			got.Says = ""
		}
		if got.Kind == "unfinished" && strings.HasPrefix(says, draw.ErrPublic.Error()+": the signature is not the beacon's") {
			continue // beyond the page
		}
		if a, b := same(says), same(got.Says); a != b && a+b != "rv" {
			t.Errorf("Go says %q, the page %q: %s", says, got.Says, texts[i])
		}
	}
	if held == 0 || held > len(texts)/4 {
		t.Errorf("%d of %d changed files hold", held, len(texts))
	}
}

// No page of a ballot is wider than a small telephone, also with the name of drand's chain on it.
func TestABallotFitsATelephone(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	x := openSale(t, func(p *Product) { p.Mode, p.Draw = orders.Ballot, draw.Drand })
	at := strings.TrimSuffix(serveOrderPage(t, x), "/order")
	ctx := browser(t, true)
	if _, err := chromedp.Run(ctx, chromedp.EmulateViewport(360, 800)); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"", "/draw", "/verify"} {
		if _, err := chromedp.Run(ctx, chromedp.Navigate(at+page)); err != nil {
			t.Fatal(err)
		}
		if width := evaluate[int](t, ctx, "document.documentElement.scrollWidth"); width > 360 {
			t.Errorf("%s: %d pixels wide", page, width)
		}
	}
}
