package config

import (
	"encoding"
	"fmt"
	"math"
)

// assignValue sets a field to a decoded value. If it cannot, it returns the problem
// with the value, and the kind of mistake.
func assignValue(s keySpec, field, value any) (problem string, kind error) {
	shown := "a secret"
	if !s.secret {
		shown = describeValue(value)
	}
	switch f := field.(type) {
	case *RackKey:
		return assignText(f, value, shown, `the string that "bramble key" prints`)
	case *[]RackKey:
		return assignList(f, value, "write a list of keys in brackets: [\"…\", \"…\"]", func(i int, key *RackKey, one any) (string, error) {
			problem, kind := assignText(key, one, "a secret", `the string that "bramble key" prints`)
			return fmt.Sprintf("key %d of the list: %s", i+1, problem), kind
		})
	case *Size:
		if n, ok := value.(int64); ok && n >= 0 {
			*f = Size(n)
			return "", nil
		}
		return assignText(f, value, shown, `a size in quotes, such as "64MB"`)
	case *Duration:
		return assignText(f, value, shown, `a duration in quotes, such as "10s"`)
	case *string:
		v, ok := value.(string)
		if !ok {
			return "write a string in quotes" + insteadOf(s, shown), ErrWrongType
		}
		*f = v
	case *int:
		n, ok := value.(int64)
		if !ok {
			return "write a whole number without quotes" + insteadOf(s, shown), ErrWrongType
		}
		if n != int64(int32(n)) { // an int of 32-bit boards
			return fmt.Sprintf("%d is out of range; the largest number is %d", n, math.MaxInt32), ErrBadValue
		}
		*f = int(n)
	case *bool:
		v, ok := value.(bool)
		if !ok {
			return "write true or false without quotes" + insteadOf(s, shown), ErrWrongType
		}
		*f = v
	case *[]ConsoleAccount:
		const want = "write [[console.accounts]] on a line of its own, and name, role and password below"
		return assignList(f, value, want, func(_ int, account *ConsoleAccount, one any) (string, error) {
			sub, _ := one.(map[string]any)
			name, hasName := sub["name"].(string)
			role, hasRole := sub["role"].(string)
			password, hasPassword := sub["password"].(string)
			if !hasName || !hasRole || !hasPassword || len(sub) != 3 {
				return "each account has name, role and password, in quotes, and nothing else", ErrBadValue
			}
			*account = ConsoleAccount{name, role, password}
			return "", nil
		})
	case *[]string:
		const want = "write a list of strings in brackets, [\"…\", \"…\"]"
		return assignList(f, value, want+insteadOf(s, shown), func(_ int, word *string, one any) (problem string, kind error) {
			var ok bool
			if *word, ok = one.(string); !ok {
				return "write only strings in the list, each in quotes, instead of " + describeValue(one), ErrWrongType
			}
			return "", nil
		})
	}
	return "", nil
}

// assignList sets a field to a list, nil for an empty one, of which assign sets each element. want is the
// problem with another value.
func assignList[T any](field *[]T, value any, want string, assign func(i int, to *T, one any) (problem string, kind error)) (problem string, kind error) {
	list, ok := value.([]any)
	if !ok {
		return want, ErrWrongType
	}
	var all []T
	for i, one := range list {
		var to T
		if problem, kind := assign(i, &to, one); kind != nil {
			return problem, kind
		}
		all = append(all, to)
	}
	*field = all
	return "", nil
}

func insteadOf(s keySpec, shown string) string {
	if s.secret {
		return ""
	}
	return " instead of " + shown
}

func assignText(f encoding.TextUnmarshaler, value any, shown, want string) (problem string, kind error) {
	v, ok := value.(string)
	if !ok {
		return "write " + want + ", instead of " + shown, ErrWrongType
	}
	if err := f.UnmarshalText([]byte(v)); err != nil {
		if _, secret := f.(*RackKey); secret {
			return err.Error(), ErrBadValue
		}
		return quote(v) + ": " + err.Error(), ErrBadValue
	}
	return "", nil
}

func describeValue(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	default:
		return "a date or time"
	}
}
