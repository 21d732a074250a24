package flask

import (
	"encoding/hex"
	"fmt"
)

// Tuple is a Python tuple. A list is a []any.
type Tuple []any

// Markup is text that is safe to show as HTML: markupsafe.Markup, or anything with __html__.
type Markup string

// UUID is a Python uuid.UUID.
type UUID [16]byte

// String returns the usual form, 36 characters.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func (u UUID) hex() string { return hex.EncodeToString(u[:]) }
