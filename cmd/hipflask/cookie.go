package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/spf13/cobra"
)

// The formats of cookies.
const (
	formatID        = "id"
	formatEncrypted = "encrypted"
	formatFlask     = "flask"
)

// cookieFlags are what the cookie commands share.
type cookieFlags struct {
	format, name, secretFile string
	lifetime                 time.Duration
}

func (a *app) cookie() *cobra.Command {
	c := &cobra.Command{
		Use:   "cookie",
		Short: "Look into cookies, and make them",
		Long: `cookie tells why a cookie is refused, shows what is in it, and makes one.

Three formats are known: "id", the signed session ID that comes with a store; "encrypted", session.EncryptedCookie; and
"flask", Flask's own cookie. The cookie is read from standard input, since it is a secret as long as its session lives:
the value alone, NAME=VALUE, or a whole Cookie or Set-Cookie line of a browser's developer tools.`,
		Example: "  pbpaste | hipflask cookie verify\n  hipflask cookie decode --secret-file /etc/shop/key " +
			"< cookie.txt",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("cookie what? decode, verify or sign") },
	}
	f := &cookieFlags{}
	flags := c.PersistentFlags()
	flags.StringVar(&f.format, "format", "", "id, encrypted or flask (default: as it looks)")
	flags.StringVar(&f.name, "name", "", "the cookie's name (default: as in the input; sign: __Host-session, "+
		"or session for flask)")
	flags.StringVar(&f.secretFile, "secret-file", "",
		"`file` with the secret keys (default: $SECRET_KEY, $SECRET_KEY_FALLBACKS)")
	flags.DurationVar(&f.lifetime, "lifetime", 0, "PERMANENT_SESSION_LIFETIME of flask cookies (default 744h)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatID, formatEncrypted, formatFlask},
		cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(a.verify(f), a.decode(f), a.sign(f))
	return c
}

func (a *app) verify(f *cookieFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Tell whether a cookie is accepted, and if not, why",
		Long: `verify tells whether a cookie is accepted. If it is refused, it says why in plain words, and ends with
exit code 4.

With --store it also looks whether the session of an ID is there.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.judged(c.Context(), f, false) },
	}
}

func (a *app) decode(f *cookieFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "decode",
		Short: "Show what is in a cookie",
		Long: `decode shows the values in a cookie, and tells whether it is accepted, as verify does. An ID has its
values in the store: name it with --store. A flask cookie can be read without a key; so can anybody who has it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.judged(c.Context(), f, true) },
	}
}

func (a *app) judged(ctx context.Context, f *cookieFlags, show bool) error {
	text, err := a.readAll()
	if err != nil {
		return err
	}
	name, value, err := pick(string(text), f.name)
	if err != nil {
		return err
	}
	secrets, err := a.secrets(f.secretFile)
	if err != nil {
		return err
	}
	j := &judge{format: f.format, name: name, value: value, secrets: secrets, lifetime: f.lifetime, now: time.Now()}
	if url, ok := a.env("SESSION_STORE"); a.url != "" || ok && url != "" {
		p, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		j.store = p
	}
	v, err := j.judge(ctx)
	if err != nil {
		return err
	}
	if !show {
		v.Data = nil
	} else if v.Data == nil && v.Valid {
		v.Explanation += "; its values are in the store: name it with --store"
	}
	if err := a.tell(v); err != nil {
		return err
	}
	if !v.Valid && !v.Unverified {
		return &exitError{exitRefused, ""}
	}
	return nil
}

// tell writes a verdict.
func (a *app) tell(v *verdict) error {
	if a.json {
		return a.object(v)
	}
	switch {
	case v.Valid:
		fmt.Fprintf(a.out, "%s: %s\n", a.green("valid"), v.Explanation)
	case v.Unverified:
		fmt.Fprintf(a.out, "%s: %s\n", a.yellow("not verified"), v.Explanation)
	default:
		fmt.Fprintf(a.out, "%s: %s\n", a.red("refused"), v.Explanation)
	}
	if s := v.Session; s != nil {
		at := func(what string, t time.Time, distance func(t, now time.Time) string) {
			if !t.IsZero() {
				fmt.Fprintf(a.out, "%s  %s UTC, %s\n", a.bold(fmt.Sprintf("%-9s", what)), t.Format(time.DateTime),
					distance(t, v.now))
			}
		}
		for _, line := range [][2]string{{"handle", s.Handle}, {"principal", s.Principal}, {"label", s.Label}} {
			if line[1] != "" {
				fmt.Fprintf(a.out, "%s  %s\n", a.bold(fmt.Sprintf("%-9s", line[0])), plain(line[1]))
			}
		}
		at("created", s.CreatedAt, ago)
		at("last seen", s.LastSeenAt, ago)
		at("expires", s.ExpiresAt, in)
	}
	if v.Data != nil {
		text, err := indented(v.Data)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s\n", text)
	}
	return nil
}

// pick finds the cookie in what was piped in: a value, a pair, or a whole header line.
func pick(text, name string) (string, string, error) {
	text = strings.TrimSpace(text)
	for _, header := range []string{"set-cookie:", "cookie:"} {
		if len(text) > len(header) && strings.EqualFold(text[:len(header)], header) {
			text = strings.TrimSpace(text[len(header):])
			if header == "set-cookie:" {
				text, _, _ = strings.Cut(text, ";")
			}
		}
	}
	if text == "" {
		return "", "", usage("the cookie is read from standard input, and that is empty")
	}
	if !strings.Contains(text, "=") {
		return name, strings.Trim(text, `"`), nil
	}
	var names []string
	found := map[string]string{}
	for _, c := range (&http.Request{Header: http.Header{"Cookie": {text}}}).Cookies() {
		if _, twice := found[c.Name]; !twice {
			names = append(names, c.Name)
		}
		found[c.Name] = c.Value
	}
	if name != "" {
		if value, ok := found[name]; ok {
			return name, value, nil
		}
		return "", "", usage("the input has no cookie named %q", plain(name))
	}
	var likely []string
	for _, n := range names {
		if strings.Contains(strings.ToLower(n), "session") {
			likely = append(likely, n)
		}
	}
	if len(names) == 1 {
		likely = names
	}
	if len(likely) != 1 {
		sort.Strings(names)
		return "", "", usage("which cookie? --name one of: %s", plain(strings.Join(names, ", ")))
	}
	return likely[0], found[likely[0]], nil
}

func (a *app) sign(f *cookieFlags) *cobra.Command {
	var principal, label string
	c := &cobra.Command{
		Use:   "sign",
		Short: "Make a cookie",
		Long: `sign makes a cookie for a new session with the values of a JSON object on standard input, which may be
empty. An "id" is the ID of a session that it stores: name the store. Whoever has the cookie is logged in as
--principal.`,
		Example: `  echo '{"cart": ["tea"]}' | hipflask cookie sign --format flask --principal ann`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.signed(c.Context(), f, principal, label)
		},
	}
	c.Flags().StringVar(&principal, "principal", "", "log this user in")
	c.Flags().StringVar(&label, "label", "", "the session's label")
	return c
}

func (a *app) signed(ctx context.Context, f *cookieFlags, principal, label string) error {
	secrets, err := a.secrets(f.secretFile)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		return usage("with which key? SECRET_KEY in the environment, or --secret-file; hipflask keygen makes one")
	}
	config := session.Config{SecretKey: secrets[0].key, Lifetime: f.lifetime, SweepInterval: -1}
	config.Cookie.Name = nameOr(f.name, f.format)
	values := session.JSON
	switch f.format {
	case formatEncrypted:
		config.CookieCodec = session.EncryptedCookie
	case formatFlask:
		config.CookieCodec, values = flask.Cookie, flask.TaggedJSON
	case formatID, "":
		url, err := a.wanted()
		if err != nil {
			return err
		}
		p, err := a.openAt(ctx, url, true)
		if err != nil {
			return err
		}
		defer p.close()
		config.Store = p.Store
	default:
		return unknownFormat(f.format)
	}
	m, err := session.New(config)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := m.Load(ctx, "")
	if err != nil {
		return err
	}
	if principal != "" {
		s.Login(principal)
	}
	if label != "" {
		s.SetLabel(label)
	}
	if err := a.fill(s, values); err != nil {
		return err
	}
	if err := errors.Join(s.Err(), s.Save(ctx)); err != nil {
		return err
	}
	if s.Token() == "" {
		return usage("an empty session gets no cookie: give values on standard input, or --principal")
	}
	if a.json {
		return a.object(struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}{config.Cookie.Name, s.Token()})
	}
	fmt.Fprintln(a.out, s.Token())
	return nil
}

// fill sets the values of the JSON object on standard input.
func (a *app) fill(s *session.Session, values session.Serializer) error {
	text, err := a.readAll()
	if err != nil || len(strings.TrimSpace(string(text))) == 0 {
		return err
	}
	members, err := values.Split(text)
	if err != nil {
		return usage("standard input is no JSON object")
	}
	for _, member := range members {
		var v any
		if err := values.Unmarshal(member.Value, &v); err != nil {
			return usage("the value of %q on standard input can't be read", plain(member.Name))
		}
		s.Set(member.Name, v)
	}
	return s.Err()
}

func nameOr(name, format string) string {
	switch {
	case name != "":
		return name
	case format == formatFlask:
		return "session"
	}
	return "__Host-session"
}

func unknownFormat(format string) error {
	return usage("--format %q is none of id, encrypted and flask", format)
}
