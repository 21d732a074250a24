package session_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// FuzzJSONSplit holds the scanner of documents against encoding/json: what that takes for an object is split into the
// same members; and what is split is an object, if each of its values is one of JSON's.
func FuzzJSONSplit(f *testing.F) {
	for _, document := range []string{
		"", "{}", `{"a":1}`, " { \"a\\u0062\" : [1, {\"x\":\"]\"}] ,\n\"\\\"\":\"\\\\\" } ", `{"a":1,"a":2}`,
		`{"ä":"😀","":null}`, `{"a":[}`, `{"a":tru"e"}`,
		"{\"\xff\":\"\xff\"}", `{"a":1,}`, `{"_flashes":[["message","hello"]],"_permanent":true,"n":2.0}`,
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		members, err := session.JSON.Split(document)
		if len(document) == 0 {
			if err != nil || len(members) != 0 {
				t.Fatalf("got %d members and %v of nothing", len(members), err)
			}
			return
		}
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(document, &want)
		if wantErr == nil && want == nil {
			wantErr = json.Unmarshal([]byte("{"), &want) // null is no object
		}
		if wantErr == nil && err != nil {
			t.Fatalf("got %v, but encoding/json takes it", err)
		}
		if err != nil {
			return
		}
		got := map[string][]byte{}
		wellFormed := true
		for _, m := range members {
			got[m.Name] = m.Value
			wellFormed = wellFormed && json.Valid(m.Value)
		}
		if wellFormed && wantErr != nil && !bytes.Contains(document, bytes.Repeat([]byte("["), 100)) &&
			!bytes.Contains(document, bytes.Repeat([]byte(`{"`), 100)) {
			t.Fatalf("got %d members, but encoding/json says %v", len(members), wantErr)
		}
		if wantErr == nil && len(got) != len(want) {
			t.Fatalf("got %d names, want %d", len(got), len(want))
		}
		for name, v := range want {
			if wantErr == nil && !bytes.Equal(got[name], v) {
				t.Fatalf("%q: got %q, want %q", name, got[name], v)
			}
		}

		// Put together and split again, it is the same.
		joined, err := session.JSON.Join(members)
		if err != nil {
			t.Fatalf("Join: %v", err)
		}
		again, err := session.JSON.Split(joined)
		if err != nil || len(again) != len(members) {
			t.Fatalf("got %d members, %v of %q, want %d", len(again), err, joined, len(members))
		}
		for i, m := range again {
			if m.Name != members[i].Name || !bytes.Equal(m.Value, members[i].Value) {
				t.Fatalf("got %q: %q, want %q: %q", m.Name, m.Value, members[i].Name, members[i].Value)
			}
		}
	})
}

// FuzzCookieHeader: whatever the header, the answer is 200, and a session is found only where net/http sees the valid
// cookie too. VALID in the input stands for its value.
func FuzzCookieHeader(f *testing.F) {
	for _, header := range []string{
		"", "__Host-session=VALID", "a=b; __Host-session=VALID; c=d", `__Host-session="VALID"`,
		"__Host-session=VALID; __Host-session=VALID",
		"__HOST-session=VALID", "=__Host-session=VALID", "__Host-session =VALID", "\u2000__Host-session=VALID",
		"__Host-session=VALI", "__Host-session=VALID=",
		`$Version=1; __Host-session="VALID; x="`, "__Host-session=A;__Host-session=VALID;", ";;;=;=;",
		"__Host-session=VALID\x00", "__Host-session=\tVALID ",
	} {
		f.Add(header)
	}
	b := newBench(f)
	cookie := b.cookie(f, setPlain)
	handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := session.From(r).Get("color"); ok && v == "green" {
			w.Write([]byte("found"))
		}
	}))
	f.Fuzz(func(t *testing.T, header string) {
		header = strings.ReplaceAll(header, "VALID", value(cookie))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{header}
		b.store.took()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		found := w.Body.String() == "found"
		if w.Code != http.StatusOK || len(w.Result().Cookies()) > 0 {
			t.Fatalf("got %d, %v, want 200 and no cookie", w.Code, w.Header())
		}
		sees := false
		for _, c := range r.CookiesNamed(hostCookie) {
			sees = sees || c.Value == value(cookie)
		}
		if calls := len(b.store.took()); found && !sees || !found && calls > 0 || calls > 1 {
			t.Fatalf("got the session: %t, net/http sees its cookie: %t, %d calls of the store", found, sees, calls)
		}
	})
}

// FuzzSignedID: nobody who does not have the key makes a token, not even another spelling of a token.
func FuzzSignedID(f *testing.F) {
	for _, token := range []string{"", idVector, idVector[:42], idVector + "=", idVector[:42] + "h",
		strings.Repeat("A", 43), idVector[:20] + "\n" + idVector[21:]} {
		f.Add(token)
	}
	ids := newIDs(f, hostCookie, secret)
	f.Fuzz(func(t *testing.T, token string) {
		key, err := ids.Parse(token)
		if (err == nil) != (token == idVector) || (key != "") != (err == nil) {
			t.Fatalf("got key %q and %v for %q", key, err, token)
		}
	})
}

// FuzzEncryptedCookie: the same for cookies.
func FuzzEncryptedCookie(f *testing.F) {
	for _, text := range []string{"", encryptedVector, encryptedVector[:len(encryptedVector)-1], encryptedVector + "=",
		encryptedVector[:28], strings.Repeat("A", 100), "\n" + encryptedVector} {
		f.Add(text)
	}
	codec := newCodec(f, hostCookie, secret)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := codec.Decode(text)
		if (err == nil) != (text == encryptedVector) || (r.Data != nil) != (err == nil) {
			t.Fatalf("got %+v and %v for %q", r, err, text)
		}
	})
}
