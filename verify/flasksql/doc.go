// Package flasksql tests package flask/flasksql with the databases themselves: the core has no drivers.
package flasksql
