package interleave

// edit is a change of one of the core's files.
type edit struct{ file, old, new string }

// ablation switches one rule of the protocol off.
type ablation struct {
	rule     string // as docs/protocol.md and the model name it
	what     string // the place
	edits    []edit
	store    string // or the rule of the store's contract, see brokenStores
	scenario string // that shows it
	faults   int
	daily    bool // run without -ablate too
}

var ablations = []ablation{
	{
		rule: "CASEnd", what: "Logout and Revoke delete the record",
		edits: []edit{{"move.go", "switch err := m.store.Replace(ctx, t, r.Version); {", "switch err := m.store.Delete(ctx, r.Key); {"}},

		scenario: "logout|renew", faults: 1, daily: true,
	},
	{
		rule: "Rebuild", what: "a tombstone that met another write is sent again, the new record left as it was",
		edits: []edit{{"move.go",
			"		// The old record is newer than the base that n was made from, and is the base now.\n",
			"		if moved == newer {\n			continue\n		}\n"}},
		scenario: "setupd|renew", faults: 1, daily: true,
	},
	{
		rule: "Reload", what: "if the tombstone's answer is lost, the old record is deleted",
		edits: []edit{{"move.go",
			"			c.unsure = true\n		}\n		r, at, err := c.whereabouts(ctx, key)",
			"			if c.m.store.Delete(ctx, key) == nil {\n				return done, nil\n			}\n" +
				"			return 0, unavailable(\"renew\", err)\n		}\n		r, at, err := c.whereabouts(ctx, key)"}},
		scenario: "logout|renew", faults: 1,
	},
	{
		rule: "Own", what: "a save whose answer was lost does not look for its version, and is applied again",
		edits: []edit{
			{"save.go", "case !absent && r.Version == version:", "case !absent && r.Version == version && false:"},
			{"save.go", "case c.unsure && (c.take || c.changes.exactlyOnce()):", "case false:"},
		},
		scenario: "upd|upd", faults: 1, daily: true,
	},
	{
		rule: "Own", what: "a save does not look for its version, but is never applied again",
		edits:    []edit{{"save.go", "case !absent && r.Version == version:", "case !absent && r.Version == version && false:"}},
		scenario: "upd|upd", faults: 1,
	},
	{
		rule: "Own", what: "an Update that may have been applied is applied to what another request made of it",
		edits:    []edit{{"save.go", "case c.unsure && (c.take || c.changes.exactlyOnce()):", "case false:"}},
		scenario: "upd|upd", faults: 1,
	},
	{
		rule: "Own", what: "Renew and Login do not know their own tombstone",
		edits:    []edit{{"move.go", "case r.Version == t.Version:", "case r.Version == t.Version && false:"}},
		scenario: "setupd|renew", faults: 1,
	},
	{
		rule: "Hop", what: "a save follows tombstones across principals",
		edits: []edit{
			{"save.go", `{ return c.who == "" || c.who == r.Principal }`, "{ return true }"},
		},
		scenario: "set|login(B) over A", faults: 1, daily: true,
	},
	{
		rule: "Hop", what: "Take follows a login",
		edits:    []edit{{"save.go", ", c.take && r.Kind == store.Replaced:", ":"}},
		scenario: "take|login", faults: 1,
	},
	{
		rule: "Hop", what: "Logout follows a login across principals",
		edits: []edit{{"move.go",
			"case next.Kind == store.Live && (next.Principal != who || !wanted(info(&next).Handle)):", "case false:"}},
		scenario: "logout|login(B) over A", faults: 1,
	},
	{
		rule: "Scrub", what: "Login over another principal keeps the values",
		edits: []edit{
			{"move.go", `if c.life == login && c.base.Principal != "" && c.base.Principal != c.login {`, "if false {"},
			{"session.go", `was != "" && was != principal || s.state`, `was == "?" || s.state`},
		},
		scenario: "set|login(B) over A", faults: 0,
	},
	{
		rule: "LoginAny", what: "Login is dropped if its old session has ended or another login came first",
		edits: []edit{{"move.go",
			"	if c.life == login {\n		r, d, _, err := c.first()", "	if false {\n		r, d, _, err := c.first()"}},
		scenario: "login|login", faults: 0,
	},
	{
		rule: "LoginAny", what: "such a Login gets the values of the ended session",
		edits: []edit{{"move.go",
			"	if c.life == login {\n		r, d, _, err := c.first()", "	if c.life == login {\n		r, d, err := c.successor()"}},
		scenario: "logout|login from anonymous", faults: 0,
	},
	{
		rule: "TombIdx", what: "RevokeAll passes over tombstones",
		edits:    []edit{{"list.go", "if r.Kind == store.Ended || r.Principal", "if r.Kind != store.Live || r.Principal"}},
		scenario: "revoke|renew;renew down", faults: 1,
	},
	{
		rule: "NoExtend", what: "an unchanged ID is sent again",
		edits: []edit{{"save.go",
			"	if mends(s.err) {\n		s.err = nil\n	}\n	if c.created {",
			"	if s.state == live && !c.created && !s.moved {\n" +
				"		s.cookie = &cookieChange{value: s.token, persistent: true, expiresAt: time.Now().Add(time.Hour)}\n	}\n" +
				"	if mends(s.err) {\n		s.err = nil\n	}\n	if c.created {"}},
		scenario: "renew|touch", faults: 0,
	},
	{
		rule: "Marker", what: "an ended session leaves nothing",
		edits: []edit{{"move.go",
			"			case err == nil:\n				return true, true, nil",
			"			case err == nil:\n				m.store.Delete(ctx, r.Key)\n				return true, true, nil"}},
		scenario: "revoke|login|set", faults: 0,
	},
	{
		rule: "Marker", what: "an ID that a login retired counts as unknown",
		edits:    []edit{{"load.go", "f.state = late\n\t\t\treturn ReasonReplaced, nil", "return ReasonReplaced, nil"}},
		scenario: "setupd|login", faults: 0,
	},
	{
		rule: "RenewOnce", what: "a Renew whose ID was renewed before it loaded renews again",
		edits: []edit{
			{"save.go", "if life == renew && s.moved {", "if false {"},
			{"session.go", "!(s.life == renew && s.moved)", "true"},
		},
		scenario: "set|renew+set|renew+set", faults: 0,
	},
	{
		rule: "RenewOnce", what: "a Renew whose ID was renewed meanwhile renews the new one",
		edits:    []edit{{"move.go", "c.life != login || r.Kind", "r.Kind"}},
		scenario: "set|renew+set|renew+set", faults: 0,
	},
	{
		rule: "KeepPrin", what: "tombstones have no principal",
		edits:    []edit{{"load.go", "		Principal:  r.Principal,\n", ""}},
		scenario: "logout|renew", faults: 0,
	},
	{
		rule: "Fence", what: "a tombstone that was not taken twice is given up without a new version of the old record",
		edits:    []edit{{"move.go", "return 0, c.fence(ctx)", `return 0, unavailable("renew", errors.New("no fence"))`}},
		scenario: "setupd|renew", faults: 2,
	},
	{
		rule: "Fence", what: "the new record is deleted even if a tombstone may lead to it",
		edits:    []edit{{"move.go", "if !errors.Is(err, ErrUncertain) {", "if true {"}},
		scenario: "setupd|renew", faults: 2,
	},
	{
		rule: "MergeLife", what: "tombstones live for less than Grace",
		edits:    []edit{{"load.go", "t.Add(m.config.Grace + m.config.StoreTimeout)", "t.Add(m.config.Grace / 8)"}},
		scenario: "setupd|renew half expiry", faults: 0,
	},
	{
		rule: "MergeLife", what: "tombstones live for Grace from before the call that writes them",
		edits:    []edit{{"load.go", "t.Add(m.config.Grace + m.config.StoreTimeout)", "t.Add(m.config.Grace)"}},
		scenario: "setupd|renew slow store", faults: 0,
	},
	{
		rule: "Elapsed", what: "a save that does not find its record after Grace counts it as ended",
		edits:    []edit{{"save.go", "if time.Since(c.at) > c.m.config.Grace {", "if false {"}},
		scenario: "setupd|login expiry", faults: 0,
	},
	{
		rule: "Elapsed", what: "so does a Renew",
		edits:    []edit{{"move.go", "if absent && time.Since(c.at) > c.m.config.Grace {", "if false {"}},
		scenario: "renew|renew expiry", faults: 0,
	},
	{
		rule: "Uncertain", what: "a save that could not look after a lost answer says that nothing was changed",
		edits: []edit{
			{"save.go", `return false, false, uncertain("save", err) // also`, `return false, false, unavailable("save", err) // also`},
			{"save.go", "	if c.unsure {\n		return uncertain(\"save\", err)\n	}\n", ""},
		},
		scenario: "set|upd", faults: 2,
	},
	{
		rule: "Uncertain", what: "a session whose save is uncertain can be saved again",
		edits:    []edit{{"save.go", "if s.state == failed || s.unsure || ", "if s.state == failed || "}},
		scenario: "twice|upd", faults: 2,
	},
	{
		rule: "Spent", what: "a session that met a login from anonymous shows the principal's values",
		edits: []edit{
			{"save.go", "	case c.crossed:\n", "	case false:\n"},
			{"save.go", "!c.dropped && !c.crossed", "!c.dropped"},
		},
		scenario: "setupd|login", faults: 0,
	},
	{
		rule: "IdxFirst", what: "the store's index entry comes after the record", store: "indexLast",
		scenario: "index: login;revoke", faults: 1,
	},
	{
		rule: "NoCleanIdx", what: "the store's listing removes index entries that have no record", store: "indexCleans",
		scenario: "index: revoke|login;revoke", faults: 1,
	},
	{
		rule: "OneWrite, OneCreate", what: "the store's client repeats a write whose answer was lost", store: "repeats",
		scenario: "upd|upd", faults: 1,
	},
}
