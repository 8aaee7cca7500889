package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The bounds of what a client may send, in bytes, and of the time that an action may
// take before it counts as failed.
const (
	maxBody       = 4 << 10
	maxURL        = 2 << 10
	maxTag        = 128
	maxBoardName  = 128
	actionTimeout = 30 * time.Second
)

var labActions = []string{"stop", "kill", "pause", "revive"}

// drainRequest is the body of POST /api/v1/drain and /api/v1/locate.
type drainRequest struct {
	Board string `json:"board"`
	Undo  bool   `json:"undo"`
}

// labRequest is the body of POST /api/v1/lab.
type labRequest struct {
	Board  string `json:"board"`
	Action string `json:"action"`
}

func (c *Console) rightsOf(r *http.Request) viewerRights {
	v, _ := r.Context().Value(viewerKey{}).(viewer)
	may := v.role.includes(RoleSteer)
	return viewerRights{steer: may, lab: may && c.cfg.Lab != nil}
}

// snapshotFor returns the source's snapshot with the rights of this client.
func (c *Console) snapshotFor(r *http.Request) RackView {
	s, rights := c.cfg.Source.RackView(), c.rightsOf(r)
	s.CanSteer, s.CanLab = rights.steer, rights.lab
	return s
}

func (c *Console) serveRack(w http.ResponseWriter, r *http.Request) {
	s := c.snapshotFor(r)
	if s.Ring == nil {
		s.Ring = []RingArc{}
	}
	if s.Boards == nil {
		s.Boards = []BoardView{}
	}
	writeJSON(w, http.StatusOK, s)
}

func (c *Console) servePurge(w http.ResponseWriter, r *http.Request) {
	var p PurgeRequest
	if !c.readBody(w, r, &p) {
		return
	}
	if err := p.Check(); err != nil {
		c.writeFailure(w, r, err)
		return
	}
	ctx, cancel := actionContext(w, r)
	defer cancel()
	res, err := c.cfg.Control.Purge(ctx, p)
	if err != nil {
		c.writeFailure(w, r, err)
		return
	}
	if res.Applied == nil {
		res.Applied = []string{}
	}
	writeJSON(w, http.StatusOK, res)
}

// boardAction returns a handler that does something with a board, or undoes it; success is 204.
func (c *Console) boardAction(do func(ctx context.Context, board string, undo bool) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var d drainRequest
		if c.readBody(w, r, &d) {
			c.runAction(w, r, checkBoardName(d.Board), func(ctx context.Context) error { return do(ctx, d.Board, d.Undo) })
		}
	}
}

// serveLab carries out an action on the process of a lab's board; success is 204.
func (c *Console) serveLab(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Lab == nil {
		writeError(w, http.StatusNotFound, "this is not a lab: to stop a board of a real rack, unplug it")
		return
	}
	var l labRequest
	if !c.readBody(w, r, &l) {
		return
	}
	mistake := checkBoardName(l.Board)
	if mistake == nil && !slices.Contains(labActions, l.Action) {
		mistake = fmt.Errorf("%w: action is one of %s", ErrBadRequest, strings.Join(labActions, ", "))
	}
	c.runAction(w, r, mistake, func(ctx context.Context) error { return c.cfg.Lab.Do(ctx, l.Board, l.Action) })
}

func (c *Console) serveShop(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Shop == nil {
		writeError(w, http.StatusNotFound, "this board takes no orders")
		return
	}
	ctx, cancel := actionContext(w, r)
	defer cancel()
	c.cfg.Shop.ServeHTTP(w, r.WithContext(ctx))
}

func (c *Console) serveCard(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Card == nil {
		writeError(w, http.StatusNotFound, "this board does not run from a card with the image: install the new version by hand")
		return
	}
	http.StripPrefix(strings.TrimSuffix(CardPath, "/"), c.cfg.Card).ServeHTTP(w, r)
}

// actionContext bounds an action, and extends the write deadline so that the reply can
// follow it.
func actionContext(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	// A writer without deadlines (a test's recorder) never waits.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(actionTimeout + writeTimeout))
	return context.WithTimeout(r.Context(), actionTimeout)
}

// runAction carries out an action that returns nothing but an error, unless the request has a
// mistake, and answers.
func (c *Console) runAction(w http.ResponseWriter, r *http.Request, mistake error, do func(context.Context) error) {
	err := mistake
	if err == nil {
		ctx, cancel := actionContext(w, r)
		defer cancel()
		err = do(ctx)
	}
	if err != nil {
		c.writeFailure(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Check validates a purge. Its error matches ErrBadRequest.
func (p PurgeRequest) Check() error {
	set := 0
	for _, is := range []bool{p.URL != "", p.Tag != "", p.All} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: a purge needs exactly one of url, tag and all", ErrBadRequest)
	case len(p.URL) > maxURL:
		return fmt.Errorf("%w: a URL has at most %d bytes", ErrBadRequest, maxURL)
	case len(p.Tag) > maxTag:
		return fmt.Errorf("%w: a tag has at most %d bytes", ErrBadRequest, maxTag)
	case strings.ContainsFunc(p.Tag, isUnprintable):
		return fmt.Errorf("%w: a tag must not contain spaces or control characters", ErrBadRequest)
	case p.URL == "":
		return nil
	case strings.ContainsFunc(p.URL, isUnprintable):
		return fmt.Errorf("%w: a URL must not contain spaces or control characters", ErrBadRequest)
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return fmt.Errorf("%w: that URL cannot be parsed: %v", ErrBadRequest, errors.Unwrap(err))
	}
	web := (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	path := u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/")
	if !web && !path {
		return fmt.Errorf("%w: a URL must begin with http://, https:// or /", ErrBadRequest)
	}
	return nil
}

// isUnprintable reports whether a character must not be in a URL or a tag.
func isUnprintable(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// checkBoardName bounds a board's name. It does not know which boards exist.
func checkBoardName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: board is missing: name a board", ErrBadRequest)
	case len(name) > maxBoardName:
		return fmt.Errorf("%w: a board's name has at most %d bytes", ErrBadRequest, maxBoardName)
	}
	return nil
}

// readBody decodes the request's JSON object into v, or answers with an error and
// returns false.
func (c *Console) readBody(w http.ResponseWriter, r *http.Request, v any) bool {
	err := decodeObject(http.MaxBytesReader(w, r.Body, maxBody), v)
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a request has at most %d bytes", maxBody))
	case err != nil:
		writeError(w, http.StatusBadRequest, "this is not the expected JSON object: "+err.Error())
	}
	return err == nil
}

// decodeObject reads exactly one JSON object without unknown fields.
func decodeObject(from io.Reader, v any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err == nil {
		return errors.New("more follows after the object")
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the object: %w", err)
	}
	return nil
}

// writeFailure answers with an error of Control, Lab or Check and its status. Only
// errors of the three documented kinds are shown to the client; others are logged.
func (c *Console) writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	text := "an internal error: see the board's log"
	switch {
	case errors.Is(err, ErrUnknownBoard):
		status, text = http.StatusNotFound, err.Error()
	case errors.Is(err, ErrBadRequest):
		status, text = http.StatusBadRequest, strings.TrimPrefix(err.Error(), ErrBadRequest.Error()+": ")
	case errors.Is(err, ErrUnavailable):
		status, text = http.StatusServiceUnavailable, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusGatewayTimeout, fmt.Sprintf("it did not finish within %v", actionTimeout)
	}
	level := slog.LevelInfo // a mistake of the person at the console
	if status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	c.log.Log(r.Context(), level, "console: action failed", "path", r.URL.Path, "error", err)
	writeError(w, status, text)
}

// writeError answers {"error": text}.
func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil { // NaN, for example
		status = http.StatusInternalServerError
		data, _ = json.Marshal(map[string]string{"error": "the reply cannot be encoded as JSON: " + err.Error()})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // an error means that the client has gone
}
