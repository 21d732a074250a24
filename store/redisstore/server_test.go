package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// use calls every method of s that a request needs, and returns the first error.
func use(tb testing.TB, s *redisstore.Store) error {
	tb.Helper()
	ctx, rec := tb.Context(), record(time.Hour)
	next := rec
	next.Version = 2
	for _, call := range []func() error{
		func() error { return s.Create(ctx, rec) },
		func() error {
			if err := s.Create(ctx, rec); !errors.Is(err, store.ErrExists) {
				return fmt.Errorf("a second Create: %w", err)
			}
			return nil
		},
		func() error { _, err := s.Load(ctx, rec.Key); return err },
		func() error { return s.Replace(ctx, next, 1) },
		func() error { return s.Touch(ctx, rec.Key, 2, time.Now(), rec.ExpiresAt.Add(5*time.Hour)) },
		func() (err error) {
			for _, err = range s.Principal(ctx, rec.Principal) {
			}
			return err
		},
		func() error { return s.Replace(ctx, tombstone(next), 2) },
		func() error { return s.Delete(ctx, rec.Key) },
	} {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

func all(tb testing.TB, s *redisstore.Store) (n int, err error) {
	tb.Helper()
	for _, err := range s.All(tb.Context()) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// rules are what docs/redis.md says that a user needs. No dangerous command and no KEYS is among them.
const rules = "~hipflask:* +hello +ping +evalsha +eval " +
	"+get +getex +set +getrange +setrange +del +pexpire +pexpireat +time " +
	"+zadd +zincrby +zrem +zscore +zrangebyscore +zrevrank +zrevrange +zscan"

// What is needed besides, for what.
const (
	forAll      = "+scan"
	forReplicas = "+wait +pttl"
	forMaxStale = "+client|tracking +client|caching"
	forSentinel = "+role"
	forCluster  = "+cluster|slots +cluster|shards +cluster|info"
)

func TestDocumentedRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/redis.md")
	must(t, err)
	words := strings.Join(strings.Fields(string(page)), " ")
	for _, some := range []string{rules, forAll, forReplicas, forMaxStale, forSentinel, forCluster} {
		if !strings.Contains(words, some) {
			t.Errorf("docs/redis.md lacks rules that are tested here: %s", some)
		}
	}
}

func TestPermissionsOnClusterAndUnderSentinel(t *testing.T) {
	t.Parallel()
	for _, place := range []struct {
		servers []*servertest.Server
		url     string
		rules   string
	}{
		{cluster().Nodes, clusterURL(), forCluster},
		{sentinels().Nodes, sentinelURL() + "?replicas=1", forSentinel + " " + forReplicas},
	} {
		for _, server := range place.servers {
			do(t, raw(t, server.Addr), append([]string{"ACL", "SETUSER", "app", "reset", "on", ">secret"},
				strings.Fields(rules+" "+forAll+" "+place.rules)...)...)
		}
		s := open(t, strings.Replace(place.url, "://", "://app:secret@", 1), nil)
		must(t, use(t, s))
		if _, err := all(t, s); err != nil {
			t.Errorf("All: %v", err)
		}
	}
}

// A user with the documented rules can do everything, without any of them something, and then the error names the
// reason. So no method uses a command that is not on the list, such as KEYS or SCAN.
func TestPermissions(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	client := raw(t, server.Addr)
	as := func(name string, rules ...string) (*redisstore.Store, error) {
		do(t, client, append([]string{"ACL", "SETUSER", name, "reset", "on", ">pass word/?@"}, rules...)...)
		user := url.UserPassword(name, "pass word/?@").String()
		s, err := redisstore.Open(t.Context(), "redis://"+user+"@"+server.Addr, nil)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return s, err
	}
	whole := strings.Fields(rules)
	s, err := as("app", whole...)
	must(t, err)
	if err := use(t, s); err != nil {
		t.Errorf("with the documented rules: %v", err)
	}
	_, err = all(t, s)
	refused(t, err, "All without +scan", "NOPERM", "docs/redis.md")
	s, err = as("admin", append(whole, forAll)...)
	must(t, err)
	if _, err := all(t, s); err != nil {
		t.Errorf("All with +scan: %v", err)
	}
	stale := &redisstore.Options{MaxStale: time.Second}
	withMaxStale := func(extra ...string) error {
		do(t, client, append(append([]string{"ACL", "SETUSER", "stale", "reset", "on", ">secret"}, whole...),
			extra...)...)
		s, err := redisstore.Open(t.Context(), "redis://stale:secret@"+server.Addr, stale)
		if err == nil {
			s.Close()
		}
		return err
	}
	must(t, withMaxStale(strings.Fields(forMaxStale)...))
	for i, rule := range strings.Fields(forMaxStale) {
		refused(t, withMaxStale(strings.Fields(forMaxStale)[1-i]), "MaxStale without "+rule, "docs/redis.md")
	}
	optional := []string{"+hello", "+ping", "+get"} // for versions of Redis that ask for them; for a disk that is full
	for i, rule := range whole {
		if slices.Contains(optional, rule) {
			continue
		}
		s, err := as(fmt.Sprint("user", i), slices.Delete(slices.Clone(whole), i, i+1)...)
		if err == nil && rule == "+eval" {
			do(t, client, "SCRIPT", "FLUSH")
		}
		if err == nil {
			err = use(t, s)
		}
		if err == nil {
			t.Errorf("without %s everything works: it is not needed", rule)
			continue
		}
		refused(t, err, "without "+rule, "NOPERM")
		for _, secret := range []string{"pass", "user-"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("without %s: the error contains %q", rule, secret)
			}
		}
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t, "--requirepass", "right")
	for user, want := range map[string]string{"": "NOAUTH", ":wrong@": "WRONGPASS", "nobody:right@": "WRONGPASS"} {
		_, err := redisstore.Open(t.Context(), "redis://"+user+server.Addr, nil)
		refused(t, err, "Open with "+user, want, "password")
		if err != nil && (strings.Contains(err.Error(), "wrong@") || strings.Contains(err.Error(), "right")) {
			t.Errorf("Open with %s: the error contains the password: %v", user, err)
		}
	}
	for _, user := range []string{":right@", "default:right@"} {
		must(t, use(t, open(t, "redis://"+user+server.Addr, nil)))
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "server", ca, caKey)
	certificate(t, dir, "client", ca, caKey)
	file := func(name string) string { return filepath.Join(dir, name) }
	port := servertest.FreePort(t)
	servertest.Redis(t, "--tls-port", port, "--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key"),
		"--tls-ca-cert-file", file("ca.pem"), "--tls-auth-clients", "yes")
	base := "rediss://127.0.0.1:" + port
	mine := "&cert=" + file("client.pem") + "&key=" + file("client.key")
	must(t, use(t, open(t, base+"?ca="+file("ca.pem")+mine, nil)))
	must(t, use(t, open(t, base+"?server_name=server&ca="+file("ca.pem")+mine, nil)))
	for what, query := range map[string]string{
		"a server that nobody vouches for": "?" + mine[1:],
		"another server's name":            "?server_name=other&ca=" + file("ca.pem") + mine,
		"no certificate of its own":        "?ca=" + file("ca.pem"),
	} {
		if s, err := redisstore.Open(t.Context(), base+query, nil); err == nil {
			s.Close()
			t.Errorf("Open with %s: got nil, want an error", what)
		}
	}
	_, err := redisstore.Open(t.Context(), "redis://127.0.0.1:"+port, nil)
	refused(t, err, "Open without TLS")
}

// certificate makes name.pem and name.key, signed by another certificate or by itself.
func certificate(tb testing.TB, dir, name string, parent *x509.Certificate,
	parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(tb, err)
	for end, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		must(tb, os.WriteFile(filepath.Join(dir, name+end), pem.EncodeToMemory(block), 0o600))
	}
	return template, key
}

func TestSocketAndDatabase(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "redis") // the path of a socket has to be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	server := servertest.Redis(t, "--unixsocket", filepath.Join(dir, "sock"))
	do(t, raw(t, server.Addr), "ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all")
	s := open(t, "unix://ann:secret@"+filepath.Join(dir, "sock")+"?db=3", nil)
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	for url, want := range map[string]error{
		server.URL + "/3": nil, server.URL + "?db=3": nil, server.URL: store.ErrNotFound,
		server.URL + "/2": store.ErrNotFound,
	} {
		if _, err := open(t, url, nil).Load(t.Context(), rec.Key); !errors.Is(err, want) {
			t.Errorf("Load from another URL: got %v, want %v", err, want)
		}
	}
}

// Stores with prefixes of their own don't see each other's records, also where a prefix looks like a pattern.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	prefixes := []string{"", "a:", "b:", "*", "a?", "[ab]:", `\a:`, "{tag}", "ä:", "a"}
	stores := map[string]*redisstore.Store{}
	for _, prefix := range prefixes {
		s := open(t, server.URL, &redisstore.Options{Prefix: prefix})
		stores[prefix] = s
		must(t, s.Create(t.Context(), store.Record{
			Key: "same", Version: 1, Principal: "same", Label: prefix, ExpiresAt: time.Now().Add(time.Hour),
		}))
	}
	for prefix, s := range stores {
		got, err := s.Load(t.Context(), "same")
		if err != nil || got.Label != prefix {
			t.Errorf("prefix %q: got the record of %q, %v", prefix, got.Label, err)
		}
		n := 0
		for rec, err := range s.All(t.Context()) {
			if n++; err != nil || rec.Label != prefix {
				t.Errorf("prefix %q: All yields the record of %q, %v", prefix, rec.Label, err)
			}
		}
		if keys := listed(t, s, "same"); n != 1 || len(keys) != 1 {
			t.Errorf("prefix %q: got %d records of all and %d of a principal, want 1 and 1", prefix, n, len(keys))
		}
	}
	must(t, open(t, server.URL+"?prefix=b:", nil).Delete(t.Context(), "same"))
	if _, err := stores["b:"].Load(t.Context(), "same"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a prefix in the URL: got %v, want the record of that prefix deleted", err)
	}
	if _, err := stores["a:"].Load(t.Context(), "same"); err != nil {
		t.Errorf("a prefix in the URL: another prefix's record is gone: %v", err)
	}
}

// A load is one command, and so is a save; of a login, the index is another one, and of a logout.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s, client := open(t, server.URL, nil), raw(t, server.Addr)
	must(t, use(t, s)) // the server knows the scripts now
	visitor, user := record(time.Hour), record(time.Hour)
	visitor.Principal = ""
	ctx := t.Context()
	next := func(rec store.Record) store.Record { rec.Version = 2; return rec }
	for _, step := range []struct {
		name string
		do   func() error
		want map[string]int64
	}{
		{"Create", func() error { return s.Create(ctx, visitor) }, map[string]int64{"set": 1}},
		{"Load", func() error { _, err := s.Load(ctx, visitor.Key); return err }, map[string]int64{"getex": 1}},
		{"Replace", func() error {
			return s.Replace(ctx, next(visitor), 1)
		}, map[string]int64{"evalsha": 1, "getrange": 1, "set": 1, "time": 0}},
		{"Touch", func() error { return s.Touch(ctx, visitor.Key, 2, time.Now(), visitor.ExpiresAt) },
			map[string]int64{"evalsha": 1}},
		{"Delete", func() error { return s.Delete(ctx, visitor.Key) }, map[string]int64{"evalsha": 1}},
		{"Create of a user's", func() error { return s.Create(ctx, user) }, map[string]int64{"evalsha": 1, "set": 1}},
		{"Load of a user's", func() error {
			_, err := s.Load(ctx, user.Key)
			return err
		}, map[string]int64{"getex": 1}},
		{"Replace of a user's", func() error {
			return s.Replace(ctx, next(user), 1)
		}, map[string]int64{"evalsha": 1, "getrange": 1, "set": 1}},
		{"Touch of a user's", func() error {
			return s.Touch(ctx, user.Key, 2, time.Now(), user.ExpiresAt.Add(-time.Minute))
		}, map[string]int64{"evalsha": 1}},
		{"Touch beyond the index entry", func() error {
			return s.Touch(ctx, user.Key, 2, time.Now(), user.ExpiresAt.Add(time.Hour))
		}, map[string]int64{"evalsha": 3}},
		{"Principal", func() error { listed(t, s, user.Principal); return nil },
			map[string]int64{"zscan": 1, "getrange": 1}},
		{"Logout", func() error { return s.Replace(ctx, tombstone(next(user)), 2) }, map[string]int64{"evalsha": 2}},
	} {
		do(t, client, "CONFIG", "RESETSTAT")
		must(t, step.do())
		got := calls(t, client)
		// What the scripts call is counted as well: it is no round trip.
		sent := map[string]int64{}
		for command := range step.want {
			sent[command] = got[command]
		}
		if !maps.Equal(sent, step.want) || got["eval"] != 0 || got["scan"] != 0 || got["keys"] != 0 {
			t.Errorf("%s: got commands %v, want %v", step.name, got, step.want)
		}
	}
}

// The store needs no cryptography that is not approved: EVALSHA's SHA-1 is no reason.
func TestFIPS(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestRoundTrips|TestIndexHeals)$", "-test.v")
	child.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestRoundTrips") {
		t.Errorf("with GODEBUG=fips140=only: %v\n%s", err, out)
	}
}

// A typical session takes one small piece of memory, and a principal's index the compact form of a sorted set.
func TestMemoryOfASession(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	rec := record(time.Hour)
	rec.Key, rec.Data, rec.Label = strings.Repeat("k", 43), make([]byte, 200), ""
	must(t, s.Create(t.Context(), rec))
	defer s.Delete(t.Context(), rec.Key)
	if got := number(t, client, "MEMORY", "USAGE", "hipflask:s:"+rec.Key); got > 450 {
		t.Errorf("got %d bytes for a session of 200 bytes, want 450 at most", got)
	}
	encoding, err := do(t, client, "OBJECT", "ENCODING", indexOf(rec)).ToString()
	if err != nil || encoding != "listpack" && encoding != "ziplist" {
		t.Errorf("got encoding %q of an index, %v, want listpack", encoding, err)
	}
}
