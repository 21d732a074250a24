module github.com/hipflask/session/dbsc

go 1.26.0

require (
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/hipflask/session v0.1.0
)

require (
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
