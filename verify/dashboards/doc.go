// Package dashboards checks the queries of docs/dashboards.
package dashboards
