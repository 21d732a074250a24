package sqlstore

import (
	"context"
	"fmt"
)

// schema are the steps of Migrate for a table.
func (d Dialect) schema(t table) [][]string {
	created := `CREATE TABLE IF NOT EXISTS {schema} (version INTEGER NOT NULL PRIMARY KEY)`
	steps := [][]string{{d.text(created, t)}} // the version 0
	for i, step := range d.Steps {
		var made []string
		for _, s := range append(step[:len(step):len(step)],
			fmt.Sprintf("INSERT INTO {schema} (version) VALUES (%d)", i+1)) {
			made = append(made, d.text(s, t))
		}
		steps = append(steps, made)
	}
	return steps
}

// Migrate creates the table, or brings one of an earlier release up to date by the steps of the dialect that it lacks.
// A second table, whose name ends in _schema, records which steps were taken. Any number of processes may call Migrate
// concurrently and again. If nothing is to be done it only reads, so that it needs no right to create tables. It leaves
// a table of a later release as it is.
func (s *Store) Migrate(ctx context.Context) error {
	version := func(c Conn) (v int64, err error) {
		err = c.Query(ctx, s.text.schema, func(scan func(...any) error) error { return scan(&v) })
		return v, err
	}
	latest := int64(len(s.schema) - 1)
	// An error here is one below as well, unless it says that there is no table yet.
	if v, err := version(s.client.DB); err == nil && v >= latest {
		return nil
	}
	return s.client.Run(ctx, "migrate", func() error {
		return s.client.DB.Exclusive(ctx, s.table, func(c Conn) error {
			if _, err := c.Exec(ctx, s.schema[0][0]); err != nil {
				return err
			}
			v, err := version(c)
			for ; err == nil && v < latest; v++ {
				for _, statement := range s.schema[v+1] {
					if _, err := c.Exec(ctx, statement); err != nil {
						return err
					}
				}
			}
			return err
		})
	})
}
