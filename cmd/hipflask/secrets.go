package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// A secret is a key with the name by which messages call it.
type secret struct{ name, key string }

// secrets returns the secret keys, the current one first. They come from a file or the environment and never from the
// command line, which other users can see. None is no error.
func (a *app) secrets(file string) ([]secret, error) {
	var found []secret
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("can't read the secret keys: %w", err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				found = append(found, secret{fmt.Sprintf("the key on line %d of %s", i+1, file), line})
			}
		}
		if found == nil {
			return nil, fmt.Errorf("%s holds no secret key", file)
		}
		return found, nil
	}
	if key, _ := a.env("SECRET_KEY"); key != "" {
		found = append(found, secret{"SECRET_KEY", key})
	}
	text, _ := a.env("SECRET_KEY_FALLBACKS")
	var fallbacks []string
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		if err := json.Unmarshal([]byte(text), &fallbacks); err != nil {
			return nil, usage("SECRET_KEY_FALLBACKS begins with [ but is no JSON list of texts")
		}
	} else if text != "" {
		fallbacks = strings.Split(text, ",")
	}
	for i, key := range fallbacks {
		if key != "" {
			found = append(found, secret{fmt.Sprintf("SECRET_KEY_FALLBACKS[%d]", i), key})
		}
	}
	return found, nil
}
