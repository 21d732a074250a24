module github.com/hipflask/session/proof

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/hipflask/session v0.0.0
)

require golang.org/x/sys v0.49.0 // indirect
