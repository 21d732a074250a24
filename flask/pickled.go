package flask

import (
	"slices"

	"github.com/hipflask/session"
)

// pickledMark begins the value of a session that was read from a pickle, in the members of Msgpack and JSON. No value
// in these formats begins so. The value stays a pickle, with the types that the other format has not.
const pickledMark = 0xc1

func isPickled(value []byte) bool { return len(value) > 0 && value[0] == pickledMark }

func appendPickled(b []byte, v any) ([]byte, error) { return appendPickle(append(b, pickledMark), v) }

// rejoin writes a session as a pickle if it was one before.
func rejoin(s session.Serializer, members []session.Member, before []byte) ([]byte, error) {
	if formOf(before) != formPickle {
		return s.Join(members)
	}
	members = slices.Clone(members)
	for i, m := range members {
		if isPickled(m.Value) {
			members[i].Value = m.Value[1:]
			continue
		}
		var v any
		var err error
		if s == Msgpack {
			r := msgpackReader{data: m.Value}
			v, err = r.whole()
		} else {
			v, err = jsonDocument(m.Value)
		}
		if err == nil {
			members[i].Value, err = appendPickle(nil, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return Pickle.Join(members)
}

// withoutPickles returns the members with all values in the format of write.
func withoutPickles(members []session.Member, write func([]byte, any) ([]byte, error)) ([]session.Member, error) {
	if !slices.ContainsFunc(members, func(m session.Member) bool { return isPickled(m.Value) }) {
		return members, nil
	}
	members = slices.Clone(members)
	for i, m := range members {
		if !isPickled(m.Value) {
			continue
		}
		v, err := runPickle(m.Value[1:])
		if err == nil {
			members[i].Value, err = write(nil, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return members, nil
}
