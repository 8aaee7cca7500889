package shop

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"bramble/node/orders"
)

func formOf(body io.Reader) *form {
	r := httptest.NewRequest("POST", "/", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return readForm(r, formFieldLimits())
}

func TestForms(t *testing.T) {
	const broken = http.StatusBadRequest
	for _, c := range []struct {
		name, body, field, want string
		code                    int
	}{
		{"plain", "name=Ada+Lovelace&city=Berlin", "name", "Ada Lovelace", 0},
		{"nothing", "", "name", "", 0},
		{"no value", "name", "name", "", 0},
		{"ampersands", "&&name=a&&", "name", "a", 0},
		{"an equals sign in a value", "name=a=b", "name", "a=b", 0},
		{"an unknown field", "admin=yes&name=a", "admin", "", 0},
		{"blanks", "name=++a%09+%C2%A0b%E3%80%80+", "name", "a b", 0},
		{"Chinese", "name=%E5%BC%A0%E4%B8%89", "name", "张三", 0},
		{"Persian with a joiner", "name=" + url.QueryEscape("علی"+"\u200c"+"رضا"), "name", "علی" + "\u200c" + "رضا", 0},
		{"two keyboards, one name", "name=Zoe%CC%88", "name", "Zoë", 0},
		{"an emoji", "name=%F0%9F%8D%93", "name", "🍓", 0},
		{"NUL", "name=A%00B", "name", "AB", broken},
		{"a line break", "name=A%0D%0ABcc:x", "name", "ABcc:x", broken},
		{"an escape character", "name=%1B%5B2J", "name", "[2J", broken},
		{"C1 control", "name=a%C2%9Bb", "name", "ab", broken},
		{"an override", "name=%E2%80%AEadA", "name", "adA", broken},
		{"not UTF-8", "name=A%FFB", "name", "AB", broken},
		{"an overlong NUL", "name=A%C0%80B", "name", "AB", broken},
		{"a surrogate", "name=%ED%A0%80", "name", "", broken},
		{"half an escape", "name=100%&city=x", "name", "100%", broken},
		{"a bad escape", "name=%zz", "name", "%zz", broken},
		{"twice", "name=Ada&name=Eve", "name", "Ada", broken},
		{"twice in disguise", "name=Ada&n%61me=Eve", "name", "Ada", broken},
		{"as long as fits", "postcode=" + strings.Repeat("x", orders.MaxPostcode), "postcode", strings.Repeat("x", orders.MaxPostcode), 0},
		{"too long", "postcode=" + strings.Repeat("x", orders.MaxPostcode+1), "postcode", strings.Repeat("x", orders.MaxPostcode), 422},
		{"too long by a character of three bytes", "postcode=" + strings.Repeat("%E5%BC%A0", 7), "postcode", strings.Repeat("张", 6), 422},
		{"far too long", "name=" + strings.Repeat("%E5%BC%A0", 5000) + "&city=Berlin", "city", "Berlin", 422},
		{"a megabyte before it", "line2=" + strings.Repeat("x", 1<<20) + "&city=Berlin", "city", "Berlin", 413},
		{"more than is read", strings.Repeat("x", maxBodyBytes) + "&city=Berlin", "city", "", 413},
		{"many fields", strings.Repeat("x=1&", maxFormPairs) + "city=Berlin", "city", "Berlin", broken},
		{"a long name of a field", strings.Repeat("name", 20) + "=1", "name", "", 0},
	} {
		f := formOf(strings.NewReader(c.body))
		if got := f.get(c.field); got != c.want || f.statusCode() != c.code {
			t.Errorf("%s: got %q and %d (%v), want %q and %d", c.name, got, f.statusCode(), f.problems, c.want, c.code)
		}
	}
	if f := formOf(io.MultiReader(strings.NewReader("name=Ada&city"), iotest.ErrReader(io.ErrUnexpectedEOF))); !errors.Is(f.err, errFormIncomplete) || f.get("name") != "Ada" {
		t.Errorf("half a form: %v, %v", f.err, f.values)
	}
}

func TestFormTypes(t *testing.T) {
	for field, ok := range map[string]bool{
		"application/x-www-form-urlencoded":                     true,
		"application/x-www-form-urlencoded; charset=UTF-8":      true,
		"Application/X-WWW-Form-Urlencoded":                     true,
		"application/x-www-form-urlencoded; charset=iso-8859-1": false,
		"application/x-www-form-urlencoded;;;=":                 false,
		"multipart/form-data; boundary=x":                       false,
		"text/plain":                                            false,
		"application/json":                                      false,
		"":                                                      false,
	} {
		h := http.Header{}
		if field != "" {
			h.Set("Content-Type", field)
		}
		if isFormType(h) != ok {
			t.Errorf("%q: got %t", field, !ok)
		}
	}
	good := "application/x-www-form-urlencoded"
	if isFormType(http.Header{"Content-Type": {good, good}}) || isFormType(http.Header{"Content-Type": {good}, "Content-Encoding": {"gzip"}}) {
		t.Error("two types, or a compressed form, were taken")
	}
}

func TestEmails(t *testing.T) {
	for _, good := range []string{"ada@example.org", "ada.lovelace+pi@mail.example.co.uk", "用户@例子.广告", "ada@bücher.example", "ada@xn--bcher-kva.example",
		"o'brien@example.ie", "a@b.cd", "ada_l-1%x@example.museum", strings.Repeat("a", 64) + "@example.org"} {
		if wrong := checkEmail(good); wrong != "" {
			t.Errorf("%s: %s", good, wrong)
		}
		if err := (orders.Person{Name: "a", Email: good, Line1: "a", City: "a", Country: "DE"}).Check(); err != nil {
			t.Errorf("the order book refuses %s: %v", good, err)
		}
	}
	for _, bad := range []string{"ada", "ada@", "@example.org", "ada@example", "ada@@example.org", "ada@example@org", "ada @example.org", "ada@exam ple.org",
		"ada@example,org", "ada@example.org.", "ada@.example.org", "ada@example..org", "Ada <ada@example.org>", "ada@example.org;eve@example.org",
		"ada@exam_ple.org", "ada@example.org/", "a..b@example.org", strings.Repeat("a", 65) + "@example.org", "a@" + strings.Repeat("b", 260) + ".org", "ada@.", "ada@\u3000.org"} {
		if checkEmail(bad) == "" {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Whatever is posted, the resulting form is text that the page can show and, if it has no
// problem, that the order book accepts.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"", "name=Ada&email=ada@example.org&line1=x&city=y&country=DE&kind=order", "name=%00%ff%zz&name=+", "=&=&==", "n%61me=%E2%80%AE",
		"name=Zoe%CC%88%CC", "email=a%40b.c%C3", "quantity=-1&quantity=9999999999999999999", "postcode=" + strings.Repeat("%F0%9F%8D%93", 9),
		"name=" + strings.Repeat("%EF%BC%A1", 2000), "name=%0B%C2%85%E2%80%A8x&more=yes&id=K7QM-2XD9-5VZ"} {
		f.Add(seed)
	}
	cat, err := Default()
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(cat, Options{})
	if err != nil {
		f.Fatal(err)
	}
	limits := formFieldLimits()
	f.Fuzz(func(t *testing.T, body string) {
		c := s.readPageState(opening)
		o := &c.sales[0]
		form := formOf(strings.NewReader(body))
		for name, value := range form.values {
			if len(value) > limits[name] || !utf8.ValidString(value) || !norm.NFC.IsNormalString(value) ||
				strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
				t.Fatalf("%s is %q", name, value)
			}
		}
		ask := form.parseOrder(s, o)
		if code := form.statusCode(); code == 0 {
			if err := ask.Person.Check(); err != nil || ask.Quantity < 1 || ask.Quantity > o.PerPerson || ask.Kind == 0 {
				t.Fatalf("no complaint, and %v of %+v", err, ask)
			}
		} else if code < 400 || code > 499 {
			t.Fatalf("the code is %d", code)
		}
		if _, err := s.renderOrder(c, o, &formContent{form: form, kind: formOrder, alert: alertForProblems(form)}); err != nil {
			t.Fatal(err)
		}
	})
}
