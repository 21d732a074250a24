package respond

import (
	"net/http"
	"reflect"
	"sync"
)

// A home-made adapter for a framework may let handlers write to the framework's writer, below ours. Then the header is
// sent without a commit, and later changes of the header don't reach the client. No interface of net/http reports that,
// so this file looks into the writers themselves.

// sent reports whether a writer, or one that it wraps, has sent the header.
func sent(w http.ResponseWriter) bool {
	for w != nil {
		switch w := w.(type) {
		case interface{ Written() bool }: // gin, negroni
			if w.Written() {
				return true
			}
		case interface{ BytesWritten() int }: // chi
			if w.BytesWritten() > 0 {
				return true
			}
		case interface{ Size() int }: // gorilla/handlers
			if w.Size() > 0 {
				return true
			}
		}
		v := reflect.ValueOf(w)
		if wroteHeader(v) {
			return true
		}
		w = inner(w, v)
	}
	return false
}

// inner returns the writer that w wraps, or nil if none can be found.
func inner(w http.ResponseWriter, v reflect.Value) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	if v, ok := structOf(v); ok {
		if i := fieldsOf(v.Type()).embedded; i >= 0 {
			w, _ := v.Field(i).Interface().(http.ResponseWriter)
			return w
		}
	}
	return nil
}

// wroteHeader reads the field in which the writers of net/http, httptest, chi and echo note that they have sent the
// header.
func wroteHeader(v reflect.Value) bool {
	for {
		s, ok := structOf(v)
		if !ok {
			return false
		}
		f := fieldsOf(s.Type())
		if f.wrote >= 0 {
			return s.Field(f.wrote).Bool()
		}
		if f.only < 0 {
			return false
		}
		v = s.Field(f.only)
	}
}

func structOf(v reflect.Value) (reflect.Value, bool) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v, v.Kind() == reflect.Struct
}

// fields are the indexes of a struct's fields; -1: it has none.
type fields struct {
	wrote    int // says whether the header was sent
	only     int // a pointer that is the only field, as in net/http's HTTP/2
	embedded int // an http.ResponseWriter that the struct embeds
}

var known sync.Map // of fields, by reflect.Type

var responseWriter = reflect.TypeFor[http.ResponseWriter]()

func fieldsOf(t reflect.Type) fields {
	if f, ok := known.Load(t); ok {
		return f.(fields)
	}
	found := fields{-1, -1, -1}
	for i := range t.NumField() {
		switch f := t.Field(i); {
		case f.Type.Kind() == reflect.Bool && (f.Name == "wroteHeader" || f.Name == "Committed"):
			found.wrote = i
		case f.Type.Kind() == reflect.Pointer && t.NumField() == 1:
			found.only = i
		case f.Anonymous && f.Type == responseWriter:
			found.embedded = i
		}
	}
	known.Store(t, found)
	return found
}
