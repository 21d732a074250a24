module github.com/hipflask/session/devices

go 1.26.0

require (
	github.com/hipflask/session v0.1.0
	github.com/medama-io/go-useragent v1.2.5
)

require (
	github.com/boyter/go-string v1.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
