package history

import (
	"errors"
	"strings"
	"time"

	"github.com/hipflask/session"
)

const (
	attribute = session.Attribute[[]string]("attribute")
	public    = session.PublicAttribute[string]("public")
)

// act does one action of a handler.
func (v *visit) act(a *Action) {
	if v.written && (v.state == none || a.Verb == Login || a.Verb == Renew) && a.Verb != Sleep {
		return // it would need a cookie
	}
	if v.hopeless {
		v.blind(a)
		return
	}
	s := v.s
	name := keyNames[a.Key]
	switch a.Verb {
	case Set, Code:
		t := v.tag()
		s.Set(name, t)
		v.changed(change{kind: put, key: a.Key, value: t})
	case Flag:
		s.Set(keyNames[keyFlag], a.Who)
		v.changed(change{kind: put, key: keyFlag, value: a.Who})
	case Delete:
		s.Delete(name)
		if v.view[a.Key] != "" || v.stale {
			v.changed(change{kind: remove, key: a.Key})
		}
	case Append:
		t := v.tag()
		session.Key[[]string](keyNames[keyLog]).Update(s, func(list []string) []string { return append(list, t) })
		v.changed(change{kind: extend, key: keyLog, value: t})
	case Flash:
		t := v.tag()
		s.Flash(t)
		v.changed(change{kind: extend, key: keyFlash, value: t})
	case Flashes:
		v.flashes()
	case Clear:
		s.Clear()
		if !v.view.empty() || v.stale || len(without(v.pending, keyLabel)) > 0 { // nothing else is there to be cleared
			v.changed(change{kind: wipe})
		}
	case Label:
		t := v.tag()
		s.SetLabel(t)
		v.changed(change{kind: put, key: keyLabel, value: t})
	case Attribute:
		t := v.tag()
		attribute.Update(s, func(list []string) []string { return append(list, t) })
		v.changed(change{kind: extend, key: keyAttribute, value: t})
	case Public:
		t := v.tag()
		public.Set(s, t)
		v.changed(change{kind: put, key: keyPublic, value: t})
	case Take:
		v.take(a.Key)
	case Save:
		v.save()
	case Reload:
		v.reload()
	case Login:
		v.login(a.Who)
	case Renew:
		s.Renew()
		if v.state == there && v.life == Set {
			v.life = Renew
		}
	case Logout:
		v.logout()
	case RevokeOthers:
		v.revokeOthers()
	case Sleep:
		time.Sleep(a.Time)
	case Write:
		if !v.written {
			v.first()
		}
	}
}

// blind does an action without looking at what comes of it.
func (v *visit) blind(a *Action) {
	s := v.s
	name := keyNames[a.Key]
	v.log("%v, blindly", a)
	switch a.Verb {
	case Set, Code:
		s.Set(name, v.tag())
	case Flag:
		s.Set(keyNames[keyFlag], "blind")
	case Delete:
		s.Delete(name)
	case Append:
		t := v.tag()
		session.Key[[]string](keyNames[keyLog]).Update(s, func(list []string) []string { return append(list, t) })
	case Flash:
		s.Flash(v.tag())
	case Flashes:
		s.Flashes()
	case Clear:
		s.Clear()
	case Label:
		s.SetLabel(v.tag())
	case Attribute:
		t := v.tag()
		attribute.Update(s, func(list []string) []string { return append(list, t) })
	case Public:
		public.Set(s, v.tag())
	case Take:
		if got, ok, err := session.Key[string](name).Take(v.ctx, s); ok {
			v.find("got %q, %v by Take after an uncertain save", got, err)
		}
	case Save:
		v.save()
	case Reload:
		s.Reload(v.ctx)
	case Login:
		s.Login(a.Who)
	case Renew:
		s.Renew()
	case Logout: // what may have been changed ends with the session
		v.hopeless = false
		v.logout()
	case RevokeOthers:
		if n, err := s.RevokeOthers(v.ctx); n > 0 {
			v.find("got %d, %v by RevokeOthers after an uncertain save", n, err)
		}
	case Sleep:
		time.Sleep(a.Time)
	case Write:
		if !v.written {
			v.first()
		}
	}
}

// changed notes a change and checks that the session shows it.
func (v *visit) changed(c change) {
	lost := v.state == gone || v.state == spent
	dropped := errors.Is(v.s.Err(), session.ErrEnded) && (lost || !v.ended)
	v.log("%v%s", c, map[bool]string{true: " DROPPED"}[dropped])
	if dropped != lost {
		v.find("got dropped %v for a change of a session that has ended: %v", dropped, lost)
	}
	if !dropped {
		if len(v.pending) == 0 {
			v.base = v.seen()
		}
		v.pending = append(v.pending, c)
		v.view = apply([]change{c}, v.view)
	}
	if now := v.snapshot(); now != v.view {
		v.find("got %v after %v, want %v", now, c, v.view)
	}
}

func (v *visit) flashes() {
	want := strings.Fields(v.view[keyFlash])
	var got []string
	for _, f := range v.s.Flashes() {
		got = append(got, f.Message)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		v.find("got flashes %v, want %v", got, want)
	}
	if len(got) > 0 {
		v.changed(change{kind: drop, key: keyFlash, n: len(got)})
	}
}

func (v *visit) login(who string) {
	was := v.s.Principal()
	v.s.Login(who)
	if was != "" && was != who || v.state == spent {
		v.scratch, v.pending, v.view = true, nil, data{}
	}
	v.pending = append(withoutAttributes(v.pending), change{kind: leave})
	v.view = apply(v.pending[len(v.pending)-1:], v.view)
	if v.state == gone {
		v.state = none
	}
	if v.state == spent {
		v.state = there
	}
	v.life, v.loginAs = Login, who
	v.log("login %s", who)
	if got := v.s.Principal(); got != who || v.snapshot() != v.view {
		v.find("got principal %q with %v after Login, want %q with %v", got, v.snapshot(), who, v.view)
	}
}

func (v *visit) logout() {
	v.s.Logout()
	v.log("logout of K%d", v.id)
	ending := v.ending
	if v.state == there {
		ending = &leaving{v.id, v.who}
	}
	v.expected = expected{id: -1, token: -1, handle: -1, ending: ending, ended: v.ended}
	if got := v.s.Principal(); got != "" || v.snapshot() != (data{}) {
		v.find("got principal %q with %v after Logout, want nothing", got, v.snapshot())
	}
}

// take takes a one-time value, at once.
func (v *visit) take(key int) {
	visible := v.view[key]
	stale := v.stale && v.state == there
	stored := v.state == there && (visible != "" || stale) && !v.scratch
	v.countWrites()
	o := v.op(opTake)
	o.key, o.own = key, touches(v.pending, key)
	got, ok, err := session.Key[string](keyNames[key]).Take(v.ctx, v.s)
	v.returned(o)
	v.log("take %s: %q %v %v", keyNames[key], got, ok, err)
	switch {
	case stale && errors.Is(err, session.ErrEnded):
		o.outcome = dropped
		v.end()
		v.run.add(o)
		return
	case stale && err != nil && v.reloaded(): // and failed then
		v.view, v.base, v.stale = v.snapshot(), nil, false
	case stale && err != nil:
		return
	case stale && err == nil:
		v.stale = false
		if v.sent() == 0 && !v.scratch { // it has only loaded the session again
			if ok {
				v.run.won(v, got)
				v.pending = without(v.pending, key)
			}
			v.view, v.base = v.snapshot(), nil
			o.verb, o.live, o.view, o.pending = opRead, true, v.seen(), v.pending
			v.run.add(o)
			return
		}
	}
	stored = stored && !(o.own && err == nil && v.sent() == 0)
	if v.state == spent {
		if ok || !errors.Is(err, session.ErrEnded) {
			v.find("got %q, %v by Take from the view of before a parallel login, want ErrEnded", got, err)
		}
		return
	}
	if !stored {
		if err != nil || got != visible || ok != (visible != "") {
			v.find("got %q, %v by a Take that stores nothing, want %q", got, err, visible)
		} else if ok {
			v.run.won(v, got)
			v.pending = without(v.pending, key)
			v.view[key] = ""
		}
		if now := v.snapshot(); now != v.view && v.state == there && o.own && err == nil && !v.scratch {
			v.view, v.base = now, nil // it has waited for another save, and loaded what that left
			o.verb, o.live, o.view, o.pending = opRead, true, v.seen(), v.pending
			v.run.add(o)
		}
		return
	}
	switch {
	case err == nil:
		if ok {
			v.run.won(v, got)
		}
		v.pending, v.base = without(v.pending, key), nil
		v.view = v.snapshot()
		o.value, o.view, o.pending = got, v.seen(), v.pending
	case errors.Is(err, session.ErrEnded):
		o.outcome = dropped
		v.end()
	case errors.Is(err, session.ErrUncertain):
		o.outcome, o.ret = uncertain, forever
	case errors.Is(err, session.ErrUnavailable):
		return
	default:
		v.find("Take failed with %v", err)
	}
	v.run.add(o)
}

// end is for a session that was found to have ended.
func (v *visit) end() {
	v.state, v.pending, v.view, v.scratch, v.stale = gone, nil, data{}, false, false
	switch v.life {
	case Renew, RevokeOthers:
		v.life = Set
	case Login: // works all the same, though Err stays
		v.state, v.ended = none, true
	}
	if got := v.snapshot(); got != (data{}) {
		v.find("a session that has ended shows %v", got)
	}
}

func (v *visit) reload() {
	o := v.op(opRead)
	before := v.state
	err := v.s.Reload(v.ctx)
	v.returned(o)
	v.log("reload: %v", err)
	switch {
	case before == none && (err == nil || v.life == Login), errors.Is(err, session.ErrUnavailable):
	case (before == gone || before == spent) && errors.Is(err, session.ErrEnded):
	case before == there && err == nil:
		o.live, v.base, v.stale = true, nil, false
		if now := v.snapshot(); !v.scratch {
			v.view = now
			o.view, o.pending = v.seen(), v.pending
		} else if now != v.view {
			v.find("got %v after Login over another principal and Reload, want %v", now, v.view)
		}
		v.run.add(o)
	case before == there && errors.Is(err, session.ErrEnded):
		v.end()
		o.who = ""
		v.run.add(o)
	default:
		v.find("Reload failed with %v", err)
	}
}
