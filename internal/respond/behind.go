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
		v, has := structOf(reflect.ValueOf(w))
		if wroteHeader(v, has) {
			return true
		}
		w = inner(w, v, has)
	}
	return false
}

// inner returns the writer that w wraps, or nil if none can be found. v is w's struct, and has says what that has.
func inner(w http.ResponseWriter, v reflect.Value, has fields) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	if has.embedded < 0 {
		return nil
	}
	w, _ = v.Field(has.embedded).Interface().(http.ResponseWriter)
	return w
}

// wroteHeader reads the field in which the writers of net/http, httptest, chi and echo note that they have sent the
// header.
func wroteHeader(v reflect.Value, has fields) bool {
	for has.wrote < 0 && has.only >= 0 {
		v, has = structOf(v.Field(has.only))
	}
	return has.wrote >= 0 && v.Field(has.wrote).Bool()
}

// structOf returns the struct that v is or points to, and which fields it has.
func structOf(v reflect.Value) (reflect.Value, fields) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return v, none
	}
	return v, fieldsOf(v.Type())
}

// fields are the indexes of a struct's fields; -1: it has none.
type fields struct {
	wrote    int // says whether the header was sent
	only     int // a pointer that is the only field, as in net/http's HTTP/2
	embedded int // an http.ResponseWriter that the struct embeds
}

var none = fields{-1, -1, -1}

var known sync.Map // of fields, by reflect.Type

var responseWriter = reflect.TypeFor[http.ResponseWriter]()

func fieldsOf(t reflect.Type) fields {
	if f, ok := known.Load(t); ok {
		return f.(fields)
	}
	found := none
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
