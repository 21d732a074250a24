package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// atOnce is how many scripts one WAIT is for, at most.
const atOnce = 256

// waiting is a script that is to be sent, or was, with a WAIT behind it.
type waiting struct {
	ctx    context.Context
	script *script
	slot   int
	keys   []string
	args   []string
	done   chan outcome // of one element
}

type outcome struct {
	answer
	err error
}

// lanes send scripts and wait for replicas, for each master of its own. With a server that has stopped to answer
// rueidis takes seconds to give a connection out, and to take it back, whatever the context says. So no call does that
// itself, and the calls to one master don't wait behind those to another one.
type lanes struct {
	mu      sync.Mutex
	masters map[string]*lane
	owners  *[slots]string // of a cluster's slots: the masters' addresses, "" if unknown
	asked   time.Time
	asking  bool
}

// lane is what waits for one master.
type lane struct {
	queue  []*waiting
	served bool // by a goroutine, which has a connection
	mixed  bool // the queue may be sent together, though it is of several slots
}

// run returns when the script's outcome is known, or its context ends. A script that was not sent by then never is.
func (l *lanes) run(ctx context.Context, s *Store, w *waiting) (answer, error) {
	master, q, start, ask := l.enter(w, s.client.Mode() == rueidis.ClientModeCluster)
	if ask {
		s.background(func() { l.ask(s.client) })
	}
	if start {
		s.background(func() { l.serve(s, master, q) })
	}
	select {
	case o := <-w.done:
		return o.answer, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-w.done: // at the last moment
		return o.answer, o.err
	default:
		return answer{}, ctx.Err()
	}
}

// enter puts w into its master's queue. start: a goroutine has to serve that. ask: somebody has to ask the cluster for
// its masters.
func (l *lanes) enter(w *waiting, cluster bool) (master string, q *lane, start, ask bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cluster && !l.asking && time.Since(l.asked) > topologyRefresh {
		l.asking, ask = true, true
	}
	if l.owners != nil {
		master = l.owners[w.slot]
	}
	if q = l.masters[master]; q == nil {
		if l.masters == nil {
			l.masters = map[string]*lane{}
		}
		q = &lane{mixed: !cluster || master != ""}
		l.masters[master] = q
	}
	q.queue = append(q.queue, w)
	start = !q.served
	q.served = true
	return master, q, start, ask
}

// ask asks a cluster for its masters. If it fails, those are kept that were known.
func (l *lanes) ask(client rueidis.Client) {
	owners, err := owners(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking, l.asked = false, time.Now()
	if err == nil {
		l.owners = owners
	}
}

// serve sends what is in the queue until it is empty.
func (l *lanes) serve(s *Store, master string, q *lane) {
	for {
		batch := l.take(q)
		if len(batch) == 0 {
			return
		}
		if node, known := s.client.Nodes()[master]; known {
			batch = send(s, node, batch)
			if len(batch) > 0 { // slots have moved: the client will find them
				l.forget()
			}
		}
		for len(batch) > 0 { // a connection of a cluster can't be asked for by more than one slot
			n := 1
			for n < len(batch) && batch[n].slot == batch[0].slot {
				n++
			}
			for _, w := range send(s, s.client, batch[:n]) {
				w.done <- outcome{err: errMoved}
			}
			batch = batch[n:]
		}
	}
}

var errMoved = errors.New("the slot is just being moved to another node")

// forget lets the next call ask for the masters.
func (l *lanes) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = time.Time{}
}

// take returns the next scripts to be sent. It leaves out those that nobody waits for any more.
func (l *lanes) take(q *lane) (batch []*waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := q.queue[:0]
	for _, w := range q.queue {
		switch {
		case w.ctx.Err() != nil:
		case len(batch) < atOnce && (q.mixed || len(batch) == 0 || batch[0].slot == w.slot):
			batch = append(batch, w)
		default:
			rest = append(rest, w)
		}
	}
	clear(q.queue[len(rest):])
	q.queue = rest
	q.served = len(batch) > 0
	return batch
}

// send sends the scripts of a batch, and one WAIT behind them, and tells each its outcome. It returns those that the
// server refused because their slots are another one's.
func send(s *Store, to rueidis.Client, batch []*waiting) (moved []*waiting) {
	ctx, cancel := latest(batch)
	defer cancel()
	client, release := to.Dedicate()
	defer release()
	commands := make([]rueidis.Completed, 0, len(batch)+1)
	for _, w := range batch {
		// The text of the script, not its name: after NOSCRIPT, WAIT would wait for what others have written.
		commands = append(commands, w.script.eval(client.B(), w.keys, w.args))
	}
	// ctx ends first
	commands = append(commands,
		client.B().Wait().Numreplicas(int64(s.replicas)).Timeout(2*mostWait.Milliseconds()).Build())
	results := client.DoMulti(ctx, commands...)
	have, missing := results[len(batch)].AsInt64()
	if missing == nil && have < int64(s.replicas) {
		missing = fmt.Errorf("%d replicas have the write, Replicas is %d", have, s.replicas)
	}
	for i, w := range batch {
		a, err := parse(results[i])
		if redirected(err) {
			moved = append(moved, w)
			continue
		}
		// That nothing is there counts no sooner: a server that has lost its data, or is no master, has nothing.
		if missing != nil && (err == nil || rueidis.IsRedisNil(err)) {
			a, err = answer{}, missing
		}
		w.done <- outcome{a, err}
	}
	return moved
}

// redirected says that a node of a cluster has done nothing, since another one has the slot.
func redirected(err error) bool {
	answered, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := answered.IsMoved()
	_, ask := answered.IsAsk()
	return moved || ask
}

// latest returns a context that ends with the last of the batch's.
func latest(batch []*waiting) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, w := range batch {
		if end, _ := w.ctx.Deadline(); end.After(last) {
			last = end
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// owners asks a cluster which master has which slot. A master that client knows by another address is left out.
func owners(client rueidis.Client) (*[slots]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	ranges, err := client.Do(ctx, client.B().Arbitrary("CLUSTER", "SLOTS").Build()).ToArray()
	if err != nil {
		return nil, err
	}
	nodes, all := client.Nodes(), new([slots]string)
	for _, r := range ranges { // first slot, last slot, master, replicas; a server is host, port, and more
		parts, err := r.ToArray()
		if err != nil || len(parts) < 3 {
			return nil, errUnexpected
		}
		from, errFrom := parts[0].AsInt64()
		to, errTo := parts[1].AsInt64()
		server, errServer := parts[2].ToArray()
		if err := errors.Join(errFrom, errTo, errServer); err != nil || from < 0 || to >= slots || len(server) < 2 {
			return nil, errUnexpected
		}
		host, errHost := server[0].ToString()
		port, errPort := server[1].AsInt64()
		address := net.JoinHostPort(host, strconv.FormatInt(port, 10))
		if _, known := nodes[address]; errHost != nil || errPort != nil || !known {
			continue
		}
		for slot := from; slot <= to; slot++ {
			all[slot] = address
		}
	}
	return all, nil
}
