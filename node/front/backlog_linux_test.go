package front

import (
	"net"
	"net/http"
	"testing"
	"time"

	"bramble/node/front/admission"
)

// Who has come before the stop is answered, even if he still waits in the backlog.
func TestStopServesTheBacklog(t *testing.T) {
	if openFiles(t) < 4096 {
		t.Skip("opens two thousand files")
	}
	f, stop, stopped := startFront(t, newTestSite(t), func(cfg *Config) { cfg.NewConnections, cfg.MaxConnections = 1, 2000 })
	var all []*testClient
	for range admission.ArrivalBurst + 1000 {
		v := dialFront(t, f)
		v.send(get("/"))
		all = append(all, v)
	}
	until(t, "all come who may", func() bool { return f.Counts().Open >= admission.ArrivalBurst })
	if backlogSize(f.listener) == 0 {
		t.Fatal("nobody waits")
	}
	stop()
	for i, v := range all {
		if resp, body := v.reply(); resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Fatalf("testClient %d got %s", i, resp.Status)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if c, err := net.DialTimeout("tcp", f.Addr().String(), time.Second); err == nil {
		c.Close()
		t.Error("one is let in after the stop")
	}
}
