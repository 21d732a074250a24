module github.com/hipflask/session

go 1.26.0

require golang.org/x/sys v0.49.0

require golang.org/x/net v0.61.0
