package interleave

// ablation switches one rule of the protocol off.
type ablation struct {
	rule     string // as docs/protocol.md and the model name it
	what     string // the place
	edits    []edit
	store    string // or the rule of the store's contract, see brokenStores
	scenario string // that shows it
	managers int    // processes; 0: one for each request
	faults   int
	daily    bool // run without -ablate too
}

var ablations = []ablation{
	{
		rule: "CASEnd", what: "Logout and Revoke delete the record",
		edits:    []edit{{"CASEnd", instead, "err := k.store.Delete(ctx, r.Key)"}},
		scenario: "logout|renew", faults: 1, daily: true,
	},
	{
		rule: "Rebuild", what: "after another write the tombstone is sent again, but the new record is not rebuilt",
		edits:    []edit{{at: "Rebuild", do: remove}},
		scenario: "setupd|renew", faults: 1, daily: true,
	},
	{
		rule: "Reload", what: "if the response to the tombstone is lost, the old record is deleted",
		edits: []edit{{"Reload", instead,
			"if s.k.store.Delete(ctx, key) == nil { return retired, nil }; return 0, Unavailable(\"renew\", err)"}},
		scenario: "logout|renew", faults: 1,
	},
	{
		rule: "Own", what: "a save whose response was lost does not look for its version, and is applied again",
		edits:    []edit{{at: "Own", do: never}, {at: "Once", do: never}},
		scenario: "upd|upd", faults: 1, daily: true,
	},
	{
		rule: "Own", what: "a save does not look for its version, but is never applied again",
		edits:    []edit{{at: "Own", do: never}},
		scenario: "upd|upd", faults: 1,
	},
	{
		rule: "Own", what: "an Update that may have been applied is applied again after another request's write",
		edits:    []edit{{at: "Once", do: never}},
		scenario: "upd|upd", faults: 1,
	},
	{
		rule: "Own", what: "Renew and Login do not recognize their own tombstone",
		edits:    []edit{{at: "OwnTombstone", do: never}},
		scenario: "setupd|renew", faults: 1,
	},
	{
		rule: "Hop", what: "a save follows tombstones across principals",
		edits:    []edit{{at: "Hop", do: always}},
		scenario: "set|login(B) over A", faults: 1, daily: true,
	},
	{
		rule: "Hop", what: "Take follows a login",
		edits:    []edit{{at: "HopTake", do: never}},
		scenario: "take|login", faults: 1,
	},
	{
		rule: "Hop", what: "Logout follows a login across principals",
		edits:    []edit{{at: "HopEnd", do: never}},
		scenario: "logout|login(B) over A", faults: 1,
	},
	{
		rule: "Attributes", what: "changes of attributes follow a login",
		edits:    []edit{{at: "Attributes", do: never}},
		scenario: "attribute|login", faults: 0,
	},
	{
		rule: "Gather", what: "a save takes others along while a write of its own may be in flight",
		edits:    []edit{{at: "GatherSure", do: never}},
		scenario: "upd|upd|upd", managers: 1, faults: 1,
	},
	{
		rule: "Scrub", what: "Login over another principal keeps the values",
		edits:    []edit{{at: "Scrub", do: never}, {at: "ScrubView", do: never}},
		scenario: "set|login(B) over A", faults: 0,
	},
	{
		rule: "LoginAny", what: "Login is dropped if its old session has ended or another login came first",
		edits:    []edit{{at: "LoginAny", do: never}},
		scenario: "login|login", faults: 0,
	},
	{
		rule: "LoginAny", what: "such a Login gets the values of the ended session",
		edits:    []edit{{"LoginFresh", called, "successor"}},
		scenario: "logout|login from anonymous", faults: 0,
	},
	{
		rule: "TombIdx", what: "RevokeAll skips tombstones",
		edits:    []edit{{"TombIdx", instead, "skip := r.Kind != store.Live"}},
		scenario: "revoke|renew;renew down", faults: 1,
	},
	{
		rule: "BatchRest", what: "RevokeAll skips sessions that changed since they were listed",
		edits:    []edit{{"BatchRest", instead, "rest := r.Kind != store.Live"}},
		scenario: "limit 3: login;revoke|renew down", faults: 0,
	},
	{
		rule: "NoExtend", what: "an unchanged ID is sent again",
		edits: []edit{{"NoExtend", before,
			"if s.view.State == protocol.Live && c.Token == \"\" && !s.view.Moved { " +
				"s.cookie = &cookieChange{value: s.token, persistent: true, deadline: time.Now().Add(time.Hour)} }"}},
		scenario: "renew|touch", faults: 0,
	},
	{
		rule: "Marker", what: "an ended session leaves no tombstone",
		edits:    []edit{{"Marker", before, "k.store.Delete(ctx, r.Key)"}},
		scenario: "revoke|login|set", faults: 0,
	},
	{
		rule: "Marker", what: "an ID that a login retired counts as unknown",
		edits:    []edit{{at: "MarkerLate", do: remove}},
		scenario: "setupd|login", faults: 0,
	},
	{
		rule: "RenewOnce", what: "a Renew whose ID was renewed before it loaded renews again",
		edits:    []edit{{at: "RenewOnce", do: never}},
		scenario: "set|renew+set|renew+set", faults: 0,
	},
	{
		rule: "RenewOnce", what: "a Renew whose ID was renewed meanwhile renews the new one",
		edits:    []edit{{at: "RenewLater", do: never}},
		scenario: "set|renew+set|renew+set", faults: 0,
	},
	{
		rule: "KeepPrin", what: "tombstones have no principal",
		edits:    []edit{{at: "KeepPrin", do: remove}},
		scenario: "logout|renew", faults: 0,
	},
	{
		rule: "Fence", what: "a tombstone whose write failed twice is given up without a new version of the old record",
		edits:    []edit{{"Fence", instead, "return 0, Unavailable(\"renew\", errors.New(\"no fence\"))"}},
		scenario: "setupd|renew", faults: 2,
	},
	{
		rule: "Fence", what: "the new record is deleted even if a tombstone may lead to it",
		edits:    []edit{{at: "FenceKeep", do: always}},
		scenario: "setupd|renew", faults: 2,
	},
	{
		rule: "MergeLife", what: "tombstones live for less than Grace",
		edits:    []edit{{"MergeLife", instead, "life := k.Grace / 8"}},
		scenario: "setupd|renew half expiry", faults: 0,
	},
	{
		rule: "MergeLife", what: "tombstones live for Grace from before the call that writes them",
		edits:    []edit{{"MergeLife", instead, "life := k.Grace"}},
		scenario: "setupd|renew slow store", faults: 0,
	},
	{
		rule: "Elapsed", what: "a save that does not find its record after Grace counts it as ended",
		edits:    []edit{{at: "Elapsed", do: never}},
		scenario: "setupd|login expiry", faults: 0,
	},
	{
		rule: "Elapsed", what: "so does a Renew",
		edits:    []edit{{at: "ElapsedRenew", do: never}},
		scenario: "renew|renew expiry", faults: 0,
	},
	{
		rule: "Uncertain", what: "a save that could not look after a lost response says that nothing was changed",
		edits:    []edit{{"Uncertain", called, "Unavailable"}, {at: "UncertainBound", do: never}},
		scenario: "set|upd", faults: 2,
	},
	{
		rule: "Uncertain", what: "a session whose save is uncertain can be saved again",
		edits:    []edit{{at: "UncertainOnce", do: never}},
		scenario: "twice|upd", faults: 2,
	},
	{
		rule: "Spent", what: "a session that met a login from anonymous shows the principal's values",
		edits:    []edit{{at: "Spent", do: never}},
		scenario: "setupd|login", faults: 0,
	},
	{
		rule: "Hard", what: "Elevate and RevokeOthers leave the old ID valid, as Renew does",
		edits:    []edit{{"Hard", instead, "if s.move == Login { kind = store.Replaced }"}},
		scenario: "elevate|set|set", faults: 0, daily: true,
	},
	{
		rule: "Hard", what: "an Elevate that came by a renewed ID keeps that ID",
		edits: []edit{{"RenewOnce", instead,
			"if s.move != protocol.Login && s.view.Moved { return protocol.Stay }"}},
		scenario: "renew|elevate;read", faults: 0,
	},
	{
		rule: "Crossed", what: "a save that finds an elevation shows it to its request",
		edits:    []edit{{at: "Crossed", do: remove}},
		scenario: "setupd|elevate", faults: 0,
	},
	{
		rule: "Cleared", what: "an anonymous save follows a Login with a Clear",
		edits:    []edit{{at: "Cleared", do: never}},
		scenario: "setupd|clear+login", faults: 0, daily: true,
	},
	{
		rule: "Cleared", what: "so does one that was anonymous when it loaded, and has followed a login since",
		edits: []edit{{"Cleared", instead,
			"if r.Kind == store.Replaced && len(r.Public) > 0 && s.who == \"\" { return false }"}},
		scenario: "set|login;clear+login", faults: 0,
	},
	{
		rule: "Limit", what: "a login that isn't among the newest sessions ends itself at once",
		edits:    []edit{{at: "LimitRise", do: never}},
		scenario: "limit 1: login ahead;login behind", faults: 0, daily: true,
	},
	{
		rule: "Limit", what: "a listing for the limit does not follow tombstones",
		edits:    []edit{{at: "LimitFollow", do: never}},
		scenario: "limit 1: login|renew down", faults: 0,
	},
	{
		rule: "Limit", what: "a login counts beside the session that it takes over",
		edits:    []edit{{at: "LimitPair", do: never}},
		scenario: "limit 3: login;login|login over own", faults: 0,
	},
	{
		rule: "Limit", what: "a session that has become younger is ended all the same",
		edits:    []edit{{at: "LimitJudge", do: never}},
		scenario: "limit 1: login|login from anonymous", faults: 0,
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
		rule: "OneWrite, OneCreate", what: "the store's client repeats a write whose response was lost",
		store:    "repeats",
		scenario: "upd|upd", faults: 1,
	},
}
