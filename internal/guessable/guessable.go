// Package guessable tells keys that people make up from random ones.
package guessable

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// margin is by how many bits a key must be easier to describe than a random one. A random key is so with a probability
// of at most 2^-margin for each rendering, whatever the description is, as long as different keys have different ones:
// there are too few short descriptions.
const margin = 28

// enough bits are enough, however few characters they are written in.
const enough = 112

// enoughRest bits in characters that belong to nothing are enough, whatever is around them.
const enoughRest = 64

// maxBytes of a key are looked at. That is enough for a decision.
const maxBytes = 200

// Is reports whether a person made up the key, as far as its structure shows that: it is put together from words,
// names, dates, repetitions, sequences and walks over the keyboard. It compares the bits of the shortest such
// description with the bits of a random key of the same characters.
func Is(key string) bool {
	key = strings.TrimRight(key, "\r\n")
	key = key[:min(len(key), maxBytes)]
	text, alphabet, random := asRandom(key)
	limit := random - margin
	if fewCharacters(text, alphabet) < min(limit, enough) {
		return true
	}
	for _, r := range renderings(text) {
		if isDescribed(r.text, limit-r.cost) {
			return true
		}
	}
	return text != key && isDescribed(key, limit)
}

// isDescribed reports whether text has a description of less than limit bits that leaves no random part. A name and
// punctuation before a random key don't make it guessable.
func isDescribed(text string, limit float64) bool {
	if limit <= 0 {
		return false
	}
	bits, rest := describe(text, limit)
	return bits < limit && rest < enoughRest
}

// fewCharacters returns the bits of a text of which it is said first which characters occur in it. alphabet is the
// number of characters that could.
func fewCharacters(text string, alphabet int) float64 {
	var seen [256]bool
	distinct, bits := 0, 3.0
	for _, c := range []byte(text) {
		if !seen[c] {
			seen[c] = true
			bits += math.Log2(float64(alphabet-distinct) / float64(distinct+1))
			distinct++
		}
	}
	return bits + float64(len(text))*math.Log2(float64(distinct))
}

// asRandom returns the key without what carries no randomness, such as the dashes of a UUID, and how many bits it has
// if its characters are random.
func asRandom(key string) (text string, alphabet int, bits float64) {
	text, ok := ungrouped(key)
	if !ok {
		text = strings.TrimRight(key, "=")
	}
	alphabet = alphabetOf(text)
	bits = float64(len(text)) * math.Log2(float64(alphabet))
	if len(text) == 32 && alphabet <= len(hexadecimal) {
		bits = min(bits, 122) // it may be a UUID
	}
	return text, alphabet, bits
}

// ungrouped removes separators between groups of one length, or as a UUID has them.
func ungrouped(key string) (string, bool) {
	for _, sep := range []string{"-", ":", " ", "."} {
		groups := strings.Split(key, sep)
		if len(groups) < 3 {
			continue
		}
		even := true
		uuid := len(groups) == 5
		for i, g := range groups {
			even = even && len(g) > 1 && (len(g) == len(groups[0]) || i == len(groups)-1 && len(g) < len(groups[0]))
			uuid = uuid && len(g) == []int{8, 4, 4, 4, 12}[i%5]
		}
		if text := strings.Join(groups, ""); even && only(text, alphanumeric) || uuid && only(text, hexadecimal) {
			return text, true
		}
	}
	return key, false
}

const (
	digits       = "0123456789"
	lower        = "abcdefghijklmnopqrstuvwxyz"
	upper        = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hexadecimal  = digits + "abcdefABCDEF"
	alphanumeric = digits + lower + upper
)

// alphabets are those that random keys are written in, the smallest first.
var alphabets = []string{
	digits, digits + "abcdef", digits + "ABCDEF", hexadecimal, lower, upper, "abcdefghijklmnopqrstuvwxyz234567",
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
	digits + lower, digits + upper, lower + upper, alphanumeric, alphanumeric + "-_", alphanumeric + "+/",
}

func only(text, alphabet string) bool {
	for i := range len(text) {
		if strings.IndexByte(alphabet, text[i]) < 0 {
			return false
		}
	}
	return true
}

// alphabetOf returns the size of the smallest alphabet that has all characters of text.
func alphabetOf(text string) int {
	for _, a := range alphabets {
		if only(text, a) {
			return len(a)
		}
	}
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return 256
		}
	}
	return 95
}

type rendering struct {
	text string
	cost float64
}

// renderings returns the text as it is, and what it may have been made from.
func renderings(text string) []rendering {
	found := []rendering{{text, 0}}
	backwards := []byte(text)
	for i := range backwards {
		backwards[i] = text[len(text)-1-i]
	}
	found = append(found, rendering{string(backwards), 4})
	for times := 2; times <= 4; times++ { // each character several times
		if short, ok := collapsed(text, times); ok {
			found = append(found, rendering{short, 4})
		}
	}
	if n := len(text); n >= 16 { // two texts, a character of each in turn
		var even, odd []byte
		for i := range n {
			if i%2 == 0 {
				even = append(even, text[i])
			} else {
				odd = append(odd, text[i])
			}
		}
		found = append(found, rendering{string(even) + string(odd), 4})
	}
	return append(found, decoded(text, 4)...)
}

// decoded returns what the text is the hex or base64 of, up to four times one in another. cost is for saying so.
func decoded(text string, cost float64) (found []rendering) {
	if cost > 16 || text == "" {
		return nil
	}
	add := func(text string) {
		found = append(append(found, rendering{text, cost}), decoded(text, cost+4)...)
	}
	for _, prefix := range []string{"base64:", "hex:", "0x"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			add(rest)
		}
	}
	if b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, "")); err == nil {
		add(string(b))
	}
	text = strings.TrimRight(text, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(text); err == nil {
			add(string(b))
			break
		}
	}
	return found
}

func collapsed(text string, times int) (string, bool) {
	if len(text)%times != 0 {
		return "", false
	}
	var short []byte
	for i := 0; i < len(text); i += times {
		if strings.Count(text[i:i+times], text[i:i+1]) != times {
			return "", false
		}
		short = append(short, text[i])
	}
	return string(short), true
}

// Costs in bits. Together the choices at one place have a probability of at most 1.
const (
	costWord       = 1.2 // that a word follows
	costFrequent   = 7   // which one
	costOther      = 10.5
	costColumn     = 5.7
	costCapital    = 1.5
	costUpper      = 2
	costLeet       = 2.5 // characters in place of letters, and 1 for each
	costSeparator  = 4.6 // which one, of a few
	costRare       = 7.6
	costDigit      = 5.2 // that a digit follows, and which one
	costNumber     = 2.2 // a digit after a digit, without the choice of which
	costYear       = 9.5
	costRun        = 5 // the character before, again and again
	costCopy       = 4 // what was before, again
	costSequence   = 6
	costWalk       = 5
	costKeyboard   = 4  // that it is none of the United States
	costAlphabet   = 16 // a letter beyond ASCII
	costSameBlock  = 8  // one of the same 128 as the letter before
	costIdeograph  = 14 // one after another
	costNewLetter  = 3  // that letters follow that are no known word
	costAnyByte    = 11
	costAnyPrinted = 9.6
)

// describe returns the bits of the shortest description of text, and how many of them are for characters that belong to
// no word, number or pattern. It may give up above limit, and returns +Inf then.
func describe(text string, limit float64) (bits, rest float64) {
	n := len(text)
	if n == 0 {
		return 0, 0
	}
	low := []byte(strings.ToLower(text))
	if len(low) != n { // not ASCII
		low = []byte(text)
	}
	plain := make([]byte, n)
	for i, c := range low {
		plain[i] = unleet(c)
	}
	// best[i] is for the text from 0 to i; letters[i] for one that ends in a letter of an unknown word.
	best, letters := make([]float64, n+1), make([]float64, n+1)
	for i := range best {
		best[i], letters[i] = math.Inf(1), math.Inf(1)
	}
	best[0] = 0
	// rest is how many of these bits are for characters that belong to nothing.
	bestRest, lettersRest := make([]float64, n+1), make([]float64, n+1)
	for i := range n {
		if letters[i] < best[i] {
			best[i], bestRest[i] = letters[i], lettersRest[i]
		}
		at, rest := best[i], bestRest[i]
		if at >= limit {
			continue // every description that ends here is too long
		}
		reach := func(to int, cost float64) {
			if cost < best[to] {
				best[to], bestRest[to] = cost, rest
			}
		}
		single := func(cost float64) {
			if at+cost < best[i+1] {
				best[i+1], bestRest[i+1] = at+cost, rest+cost
			}
		}
		c := text[i]
		// one character
		switch {
		case c >= ' ' && c <= '~':
			single(costAnyPrinted)
		default:
			single(costAnyByte)
			if size, cost := letter(text, i); size > 0 && at+cost < best[i+size] {
				best[i+size], bestRest[i+size] = at+cost, rest+0.4*cost // less: it may be a word
			}
		}
		if strings.IndexByte("-_ .", c) >= 0 {
			reach(i+1, at+costSeparator)
		} else if c < '0' || c > '9' && c < 'A' || c > 'Z' && c < 'a' || c > 'z' && c < 0x7f {
			single(costRare)
		}
		if isDigit(c) {
			cost := costDigit
			if i > 0 && isDigit(text[i-1]) {
				cost = costNumber + 3.33
			}
			single(cost)
			if i+4 <= n && (text[i:i+2] == "19" || text[i:i+2] == "20") && isDigit(text[i+2]) && isDigit(text[i+3]) {
				reach(i+4, at+costYear)
				if end, ok := date(text[i+4:]); ok { // after a year
					reach(i+4+end, at+costYear+9)
				}
			}
		}
		// letters of an unknown word
		if l := low[i]; l >= 'a' && l <= 'z' {
			start := at + costNewLetter + pair(0, l)
			if l != c {
				start += 1
			}
			letters[i+1], lettersRest[i+1] = start, rest+start-at
			if i > 0 && low[i-1] >= 'a' && low[i-1] <= 'z' {
				next := letters[i] + 0.2 + pair(low[i-1]-'a'+1, l)
				if (l != c) != (low[i-1] != text[i-1]) {
					next += 2
				}
				if next < letters[i+1] {
					// less: it may be a word of another language
					letters[i+1], lettersRest[i+1] = next, lettersRest[i]+0.6*(next-letters[i])
				}
			}
		}
		// words
		second := byte(0)
		if i+1 < n {
			second = plain[i+1]
		}
		for _, list := range [2][]word{index[plain[i]][0], index[plain[i]][second]} {
			for _, w := range list {
				if len(w.text) > n-i {
					continue
				}
				if cost, ok := spelled(w.text, text[i:i+len(w.text)], low[i:], plain[i:]); ok {
					reach(i+len(w.text), at+costWord+w.cost+cost)
				}
			}
		}
		if i > 0 {
			// the same character again
			run := 0
			for i+run < n && text[i+run] == text[i-1] {
				run++
				reach(i+run, at+costRun+2*math.Log2(float64(run)))
			}
			// what was before, from any place
			for from := 0; from < i; from++ {
				same := 0
				for i+same < n && low[from+same] == low[i+same] {
					same++
				}
				if same < 3 {
					continue
				}
				way := math.Log2(float64(i))
				if from == 0 {
					way = min(way, 1.5)
				}
				for m := 3; m <= same; m++ {
					reach(i+m, at+costCopy+way+2*math.Log2(float64(m))-1)
				}
			}
		}
		// sequences, such as abc, 321, acegi
		if i+2 < n {
			step := int(text[i+1]) - int(c)
			if step >= -3 && step <= 3 && step != 0 {
				start := 6.6
				if strings.IndexByte("aA01zZ9", c) >= 0 {
					start = 2.8
				}
				if step != 1 {
					start += 2
				}
				end := i + 1
				for end < n && follows(text[end-1], text[end], step) {
					end++
					if end-i >= 3 {
						reach(end, at+costSequence+start+2*math.Log2(float64(end-i-2)))
					}
				}
			}
		}
		// a walk over the keyboard
		for k := 0; k < len(keyboards) && i+2 < n; k++ {
			cost := at + costWalk + 5.5
			if k > 0 {
				cost += costKeyboard
			}
			last := way{}
			for end := i + 1; end < n; end++ {
				w, ok := keyboards[k].step(low[end-1], low[end])
				if !ok {
					break
				}
				if w == last {
					cost += 0.6
				} else {
					cost += 3.6
				}
				last = w
				if end-i >= 2 {
					reach(end+1, cost)
				}
			}
		}
	}
	if letters[n] < best[n] {
		return letters[n], lettersRest[n]
	}
	return best[n], bestRest[n]
}

// letter returns the size and the cost of a letter beyond ASCII; 0: there is none.
func letter(text string, i int) (size int, cost float64) {
	r, size := utf8.DecodeRuneInString(text[i:])
	if size == 1 || !unicode.In(r, unicode.L, unicode.M) {
		return 0, 0
	}
	switch before, _ := utf8.DecodeLastRuneInString(text[:i]); {
	case before>>7 == r>>7:
		return size, costSameBlock
	case unicode.Is(unicode.Han, r) && unicode.Is(unicode.Han, before):
		return size, costIdeograph
	}
	return size, costAlphabet
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// date reports whether text begins with the month and day of a date, and where they end.
func date(text string) (end int, ok bool) {
	sep := ""
	if text != "" && strings.IndexByte("-./_", text[0]) >= 0 {
		sep = text[:1]
	}
	text = strings.TrimPrefix(text, sep)
	if len(text) < 4+len(sep) || !only(text[:2], digits) || text[:2] > "12" || text[2:2+len(sep)] != sep ||
		!only(text[2+len(sep):4+len(sep)], digits) ||
		text[2+len(sep):4+len(sep)] > "31" {
		return 0, false
	}
	return 4 + 2*len(sep), true
}

// follows reports whether b is step after a. After 9 comes 0 or a, after z a.
func follows(a, b byte, step int) bool {
	if int(b)-int(a) == step {
		return true
	}
	return step == 1 && (a == '9' && (b == '0' || b == 'a' || b == 'A') || a == 'z' && (b == 'a' || b == '0') ||
		a == 'Z' && (b == 'A' || b == '0' || b == 'a')) ||
		step == -1 && (a == '0' && b == '9' || a == 'a' && (b == 'z' || b == '9'))
}

// spelled returns the cost of how a word is written.
func spelled(word, as string, low, plain []byte) (cost float64, ok bool) {
	if string(low[:len(word)]) != word {
		if len(word) < 3 || string(plain[:len(word)]) != word || isDigit(word[0]) {
			return 0, false
		}
		cost = costLeet
		for i := range len(word) {
			if low[i] != word[i] {
				cost++
			}
		}
	}
	capitals := 0
	for i := range len(as) {
		if as[i] >= 'A' && as[i] <= 'Z' {
			capitals++
		}
	}
	switch {
	case capitals == 0:
	case capitals == 1 && as[0] >= 'A' && as[0] <= 'Z':
		cost += costCapital
	case as == strings.ToUpper(as):
		cost += costUpper
	default:
		cost += float64(len(as)) + 2
	}
	return cost, true
}

// unleet returns the letter that a character stands for in texts such as p@ssw0rd.
func unleet(c byte) byte {
	if i := strings.IndexByte("013457$@!+", c); i >= 0 {
		return "oleastsait"[i]
	}
	return c
}

// A word has the bits to choose it.
type word struct {
	text string
	cost float64
}

// index has the words by the letters that their first two ones stand for; those of one letter under 0.
var index = func() (t [256][256][]word) {
	add := func(list string, cost float64) {
		for w := range strings.FieldsSeq(list) {
			first, second := unleet(w[0]), byte(0)
			if len(w) > 1 {
				second = unleet(w[1])
			}
			t[first][second] = append(t[first][second], word{w, cost})
		}
	}
	add(frequent, costFrequent)
	add(words, costOther)
	add(columns, costColumn)
	return t
}()

func pair(row, letter byte) float64 { return float64(pairs[int(row)*26+int(letter-'a')]-'0') / 4 }

// A keyboard has the places of keys. Each row is shifted by half a key against the one above.
type keyboard [256]key

type key struct {
	row, column int8
	there       bool
}

type way struct{ row, column int8 }

// keyboards are those of the United States, Germany and France, Dvorak's and Coleman's, and a block of digits.
var keyboards = []*keyboard{
	newKeyboard("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "!@#$%^&*()_+"),
	newKeyboard("1234567890", "qwertzuiop", "asdfghjkl", "yxcvbnm,.-", `!"  %&/()=`),
	newKeyboard("1234567890", "azertyuiop", "qsdfghjklm", "wxcvbn,;:!", "&  '(-  "),
	newKeyboard("1234567890[]", "',.pyfgcrl/=", "aoeuidhtns-", ";qjkxbmwvz", "!@#$%^&*(){}"),
	newKeyboard("1234567890-=", "qwfpgjluy;[]", "arstdhneio'", "zxcvbkm,./", "!@#$%^&*()_+"),
	newKeyboard("789", "456", "123", "0", ""),
}

// newKeyboard takes the rows of a keyboard, and the first one with the shift key.
func newKeyboard(rows ...string) *keyboard {
	k := &keyboard{}
	for r, row := range rows {
		for c := range len(row) {
			k[row[c]] = key{int8(r % 4), int8(c), true}
		}
	}
	k[' '] = key{}
	return k
}

// step returns in which direction b is from its neighbour a.
func (k *keyboard) step(a, b byte) (way, bool) {
	from, to := k[a], k[b]
	if !from.there || !to.there {
		return way{}, false
	}
	w := way{to.row - from.row, to.column - from.column}
	switch w {
	case way{0, 1}, way{0, -1}, way{1, 0}, way{-1, 0}, way{1, -1}, way{-1, 1}:
		return w, true
	}
	return w, false
}
