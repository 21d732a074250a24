package redisstore

import (
	"net"
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]struct {
		addresses []string
		user      string
		password  string
		database  int
		single    bool
		tls       bool
		master    string
		opts      Options
	}{
		"redis://localhost":        {addresses: []string{"localhost:6379"}, single: true},
		"valkey://h:7000/":         {addresses: []string{"h:7000"}, single: true},
		"redis://h:7000/5":         {addresses: []string{"h:7000"}, single: true, database: 5},
		"redis://h:7000?db=5":      {addresses: []string{"h:7000"}, single: true, database: 5},
		"redis://[::1]":            {addresses: []string{"[::1]:6379"}, single: true},
		"redis://[::1]:7000":       {addresses: []string{"[::1]:7000"}, single: true},
		"redis://:p%40ss%2Fw%3A@h": {addresses: []string{"h:6379"}, single: true, password: "p@ss/w:"},
		"redis://us%3Aer:a@b:c@h": {addresses: []string{"h:6379"}, single: true, user: "us:er",
			password: "a@b:c"},
		"redis://a+b:c+d@h": {addresses: []string{"h:6379"}, single: true, user: "a+b",
			password: "c+d"},
		"rediss://h":             {addresses: []string{"h:6379"}, single: true, tls: true},
		"valkeys://h:1,i:2":      {addresses: []string{"h:1", "i:2"}, tls: true},
		"redis://h:1,i,[::1]:3":  {addresses: []string{"h:1", "i:6379", "[::1]:3"}},
		"redis://h:1?cluster":    {addresses: []string{"h:1"}},
		"unix:///run/redis.sock": {addresses: []string{"/run/redis.sock"}, single: true},
		"unix://u:p@/run/redis.sock?db=2": {addresses: []string{"/run/redis.sock"}, single: true,
			user: "u", password: "p", database: 2},
		"redis+sentinel://h/main": {addresses: []string{"h:26379"}, master: "main"},
		"rediss+sentinel://u:p@h:1,i/main/4": {addresses: []string{"h:1", "i:26379"}, master: "main",
			user: "u", password: "p", database: 4, tls: true},
		"redis://h?prefix=shop%3A&replicas=2": {addresses: []string{"h:6379"},
			single: true, opts: Options{Prefix: "shop:", Replicas: 2}},
		"redis+sentinel://h/main?replicas=1": {addresses: []string{"h:26379"},
			master: "main", opts: Options{Replicas: 1}},
		"redis+sentinel://h/main?db=1&prefix=a": {addresses: []string{"h:26379"}, master: "main", database: 1,
			opts: Options{Prefix: "a"}},
	} {
		var opts Options
		got, err := parseURL(url, &opts)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !slices.Equal(got.InitAddress, want.addresses) || got.Username != want.user ||
			got.Password != want.password ||
			got.SelectDB != want.database || got.ForceSingleClient != want.single ||
			(got.TLSConfig != nil) != want.tls ||
			(got.Sentinel.TLSConfig != nil) != want.tls || got.Sentinel.MasterSet != want.master || opts != want.opts {
			t.Errorf("%s: got %v user %q password %q database %d single %t tls %t master %q %+v, want %+v",
				url, got.InitAddress, got.Username,
				got.Password, got.SelectDB, got.ForceSingleClient, got.TLSConfig != nil, got.Sentinel.MasterSet,
				opts, want)
		}
		if !got.DisableRetry || !got.DisableCache || got.SendToReplicas != nil || got.ReplicaOnly ||
			got.ConnLifetime != 0 {
			t.Errorf("%s: the client may send writes twice, or read what is old", url)
		}
	}
	got, err := parseURL("redis+sentinel://u:p@h/main?sentinel_user=s&sentinel_password=t", new(Options))
	if err != nil || got.Sentinel.Username != "s" || got.Sentinel.Password != "t" || got.Username != "u" {
		t.Errorf("passwords of sentinels: got %q %q %q, %v", got.Sentinel.Username, got.Sentinel.Password,
			got.Username, err)
	}
	opts := Options{Prefix: "mine:", Replicas: 3}
	if _, err := parseURL("redis://h?prefix=a&replicas=2", &opts); err != nil ||
		opts != (Options{Prefix: "mine:", Replicas: 3}) {
		t.Errorf("options beside the URL's: got %+v, %v, want the options", opts, err)
	}
}

// A URL that is wrong is refused in words that don't repeat it.
func TestWrongURLs(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for url, word := range map[string]string{
		secret:                        "scheme",
		"":                            "scheme",
		"http://" + secret + "@h":     "scheme",
		"redis+unix://" + secret:      "scheme",
		"unix+sentinel://x/y":         "scheme",
		"redis://":                    "host",
		"redis://u:" + secret + "@":   "host",
		"redis://h:" + secret:         "port",
		"redis://h:0":                 "port",
		"redis://h,":                  "host",
		"redis://h/" + secret:         "database",
		"redis://h?db=" + secret:      "database",
		"redis://h/-1":                "database",
		"redis://h,i/1":               "database",
		"redis://h/1/2":               "database",
		"redis://" + secret + "%zz@h": "encoded",
		"redis://u:" + secret + "%@h": "encoded",
		"redis://h/%zz" + secret:      "encoded",
		"redis://h?a=%zz" + secret:    "encoded",
		"redis://h?colour=" + secret:  "colour",
		"redis://h?ca=/nowhere":       "ca",
		"rediss://h?ca=/nowhere":      "ca",
		"rediss://h?ca=/dev/null":     "ca",
		"rediss://h?cert=/nowhere":    "cert",
		"redis://h?replicas=many":     "replicas",
		"redis+sentinel://h":          "name",
		"redis+sentinel://h/":         "name",
		"redis+sentinel:///main":      "host",
		"unix://run/redis.sock":       "slash",
		"unix://":                     "slash",
	} {
		_, err := Open(t.Context(), url, nil)
		if err == nil || !strings.Contains(err.Error(), word) || !strings.HasPrefix(err.Error(), "redisstore: ") {
			t.Errorf("%s: got error %v, want one with %q", url, err, word)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats it: %v", url, err)
		}
	}
	if _, err := Open(t.Context(), "redis://h?replicas=-1", nil); err == nil ||
		!strings.Contains(err.Error(), "Replicas is -1") {
		t.Errorf("replicas=-1: got %v, want an error", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Open(t.Context(), "redis://u:"+secret+"@"+l.Addr().String(), nil); err == nil ||
		strings.Contains(err.Error(), secret) {
		t.Errorf("nobody listens: got %v, want an error without the password", err)
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("New(nil, nil): got nil, want an error")
	}
}
