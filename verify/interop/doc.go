// Package interop tests package flask against the real Flask, in a virtual environment that the tests make from
// requirements.txt. It holds tests only.
package interop
