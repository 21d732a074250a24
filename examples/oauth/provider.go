package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// provider is who knows the users. Package golang.org/x/oauth2 does this part, and more of it.
type provider struct {
	authorizeURL, tokenURL, userURL string
	callbackURL                     string
	clientID, secret                string
}

var client = &http.Client{Timeout: 10 * time.Second}

// authorize returns the address that asks the user.
func (p provider) authorize(try attempt) string {
	challenge := sha256.Sum256([]byte(try.Verifier))
	return p.authorizeURL + "?" + url.Values{
		"response_type":         {"code"},
		"client_id":             {p.clientID},
		"redirect_uri":          {p.callbackURL},
		"state":                 {try.State},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}.Encode()
}

// user gives the code for an access token, and that for the user's name.
func (p provider) user(ctx context.Context, code string, try attempt) (string, error) {
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {p.callbackURL},
		"client_id":     {p.clientID},
		"client_secret": {p.secret},
		"code_verifier": {try.Verifier},
	}
	r, err := http.NewRequestWithContext(ctx, "POST", p.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		Value string `json:"access_token"`
	}
	if err := do(r, &token); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	if r, err = http.NewRequestWithContext(ctx, "GET", p.userURL, nil); err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token.Value)
	var user struct {
		Login string `json:"login"`
	}
	if err := do(r, &user); err != nil {
		return "", fmt.Errorf("user: %w", err)
	}
	if user.Login == "" {
		return "", errors.New("user: the provider names nobody")
	}
	return user.Login, nil
}

func do(r *http.Request, into any) error {
	r.Header.Set("Accept", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into)
}
