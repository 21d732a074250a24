package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store/filestore"
)

// openDefaultStore opens the file store that belongs to this user and these keys.
func openDefaultStore(keys []string) (*filestore.Store, error) {
	// systemd.exec(5): a list, separated by colons, if the unit names several.
	if state, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); state != "" {
		return openFolder(filepath.Join(state, "sessions"))
	}
	dir := findFolder(keys)
	s, err := openFolder(dir)
	if err == nil {
		if err = nameKeys(dir, keys); err != nil {
			s.Close()
			return nil, fmt.Errorf("session: the default Store: %w; set Config.Store to another one", err)
		}
	}
	return s, err
}

func openFolder(dir string) (*filestore.Store, error) {
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return nil, fmt.Errorf("session: open the default Store: %w; set Config.Store to another one", err)
	}
	return s, nil
}

// The name of a folder in the temporary directory has the fingerprint of the key for which it was made. When the
// application's keys change, the folder must stay, also when the key of its name is gone. So the folder has an empty
// file for each key that was ever used with it. While a program has the folder open, cleaners leave those files alone
// as well.
const keyFile = "key-"

// findFolder returns the folder of the first key that has one, or else the one to be made for the first key.
func findFolder(keys []string) string {
	named := ""
	folders, _ := os.ReadDir(os.TempDir()) // if that fails, none of them has a file for the key
	for _, k := range keys {
		dir := filepath.Join(os.TempDir(), folderPrefix()+fingerprint(k))
		if named == "" {
			named = dir
		}
		if _, err := os.Lstat(dir); err == nil {
			return dir
		}
		for _, other := range folders {
			if !strings.HasPrefix(other.Name(), folderPrefix()) {
				continue
			}
			dir := filepath.Join(os.TempDir(), other.Name())
			if _, err := os.Lstat(filepath.Join(dir, keyFile+fingerprint(k))); err == nil {
				return dir // no other user's: the fingerprint can't be guessed, and nobody else may list the folder
			}
		}
	}
	return named
}

// nameKeys notes which keys belong to the folder.
func nameKeys(dir string, keys []string) error {
	for _, k := range keys {
		if strings.HasSuffix(dir, fingerprint(k)) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, keyFile+fingerprint(k)), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// folderPrefix is that of this user's folders.
func folderPrefix() string {
	if uid := os.Getuid(); uid >= 0 { // Windows has none; its temporary directory is the user's own
		return fmt.Sprintf("hipflask-%d-", uid)
	}
	return "hipflask-"
}

// fingerprint names a key without telling anything of it.
func fingerprint(key string) string { return fmt.Sprintf("%x", token.Subkey(key, "folder")[:8]) }
