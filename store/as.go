package store

// As returns s as a T, or else the first of the stores that s wraps that is a T. Hipflask finds the capabilities of a
// store besides [Store] by As: whether it is a [Lister], a [Sweeper], an [Evicter], a [BatchReplacer] or a
// [StaleLoader], or has a method of its own. T is one of these interfaces, or the type of a store.
//
// A store that wraps another one has a method
//
//	Unwrap() store.Store
//
// As follows that from wrapper to wrapper, as [errors.As] does for errors. Unwrap is only for wrappers through which
// keys and records pass unchanged, such as one that measures or logs. A wrapper that changes them, such as one that
// adds a prefix to keys, has no Unwrap and implements Lister, Sweeper and Evicter itself if it can. storetest.Wrapper
// checks a wrapper.
//
// As returns false for a nil s.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	var none T
	return none, false
}
