package filestore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

func ExampleOpen() {
	parent, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)

	// A service would say "/var/lib/shop/sessions".
	s, err := filestore.Open(filepath.Join(parent, "sessions"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	// A session.Manager makes such calls; a program hands it s.
	ctx := context.Background()
	rec := store.Record{
		Key:       "an-opaque-key",
		Version:   1,
		Principal: "alice",
		ExpiresAt: time.Now().Add(time.Hour),
		Data:      []byte(`{"cart":3}`),
	}
	if err := s.Create(ctx, rec); err != nil {
		log.Fatal(err)
	}
	for rec, err := range s.Principal(ctx, "alice") {
		if err != nil {
			log.Fatal(err)
		}
		rec, err = s.Load(ctx, rec.Key)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", rec.Principal, rec.Data)
	}
	// Output: alice: {"cart":3}
}

// A folder with files in it that others may enter is refused: whoever can write to it can log in as anybody.
func ExampleOpen_refused() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644); err != nil {
		log.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	if _, err := filestore.Open(dir, nil); err != nil {
		fmt.Println("refused")
	}
	// Output: refused
}
