// Package flasktables tests package flask/flasksql with the databases themselves: the core has no drivers.
package flasktables
