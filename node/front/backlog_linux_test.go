package front

import (
	"net"
	"net/http"
	"testing"
	"time"

	"bramble/node/front/admission"
)

// A client that has connected before the stop is answered, even if it is still in the
// backlog.
func TestStopServesTheBacklog(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
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
	until(t, "the burst is accepted", func() bool { return f.Counts().Open >= admission.ArrivalBurst })
	if backlogSize(f.listener) == 0 {
		t.Fatal("the backlog is empty")
	}
	stop()
	for i, v := range all {
		if resp, body := v.reply(); resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Fatalf("client %d got %s", i, resp.Status)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if c, err := net.DialTimeout("tcp", f.Addr().String(), time.Second); err == nil {
		c.Close()
		t.Error("a connection is accepted after the stop")
	}
}
