module github.com/hipflask/session

go 1.26
