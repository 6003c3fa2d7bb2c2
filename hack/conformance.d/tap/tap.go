// Package tap stands in for github.com/mndrix/tap-go, which Debian does not have: as much of it as the validation suite
// of runtime-tools calls. It writes TAP version 13 to the standard output.
package tap

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// T is one stream of results.
type T struct {
	done *int
	todo bool
}

// New starts a stream.
func New() *T {
	return &T{done: new(int)}
}

// Todo is the same stream for results that are not expected to be good yet.
func (t *T) Todo() *T {
	return &T{done: t.done, todo: true}
}

// Header writes the version, and the plan where the number of results is known (above 0).
func (t *T) Header(results int) {
	line("TAP version 13")
	if results > 0 {
		plan(results)
	}
}

// AutoPlan writes the plan last: as many results as there were.
func (t *T) AutoPlan() {
	plan(*t.done)
}

// Ok writes a result.
func (t *T) Ok(good bool, what string) {
	word := "not ok"
	if good {
		word = "ok"
	}
	*t.done++
	mark := ""
	if t.todo {
		mark = " # TODO"
	}
	line(fmt.Sprintf("%s %d - %s%s", word, *t.done, what, mark))
}

// Pass writes a good result.
func (t *T) Pass(what string) {
	t.Ok(true, what)
}

// Fail writes a bad one.
func (t *T) Fail(what string) {
	t.Ok(false, what)
}

// Skip writes as many results that were not asked for.
func (t *T) Skip(results int, why string) {
	for ; results > 0; results-- {
		*t.done++
		line(fmt.Sprintf("ok %d # SKIP %s", *t.done, why))
	}
}

// Diagnostic writes a comment.
func (t *T) Diagnostic(text string) {
	line("# " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n# "))
}

// Diagnosticf writes a formatted comment.
func (t *T) Diagnosticf(format string, arguments ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, arguments...))
}

// YAML writes details of the last result, as JSON, which YAML holds.
func (t *T) YAML(details interface{}) error {
	text, err := json.MarshalIndent(details, "  ", "  ")
	if err == nil {
		line("  ---\n  " + string(text) + "\n  ...")
	}
	return err
}

func plan(results int) {
	line(fmt.Sprintf("1..%d", results))
}

func line(text string) {
	fmt.Fprintln(os.Stdout, text)
}
