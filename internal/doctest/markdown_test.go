// Package doctest checks that what the documents show is true: their Go code compiles, the files that their commands
// and links name exist. It has tests only.
package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// problem is something wrong in a document. It prints as the go command prints errors: "README.md:12: ...".
type problem struct {
	file string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text) }

// block is a fenced code block. Its info string is "language", or "language mark".
type block struct {
	file           string
	line           int // of the first line of text
	language, mark string
	text           string
}

var fence = regexp.MustCompile("^ *(```+|~~~+) *([^ `]*) *([^`]*)$")

// split returns the code blocks of a document and the document without them: the same lines, theirs empty.
func split(file, document string) (blocks []block, prose []string, problems []problem) {
	open := "" // the opening fence inside a block
	for i, line := range strings.Split(document, "\n") {
		match := fence.FindStringSubmatch(line)
		switch {
		case open == "" && match == nil:
			prose = append(prose, line)
			continue
		case open == "":
			open = match[1]
			blocks = append(blocks, block{file: file, line: i + 2, language: match[2],
				mark: strings.TrimSpace(match[3])})
		case match != nil && strings.HasPrefix(match[1], open) && match[2] == "":
			open = ""
		default:
			blocks[len(blocks)-1].text += line + "\n"
		}
		prose = append(prose, "")
	}
	if open != "" {
		problems = append(problems, problem{file, blocks[len(blocks)-1].line - 1, "code block without an end"})
	}
	return blocks, prose, problems
}

const module = "github.com/hipflask/session"

// checkCommands checks the words of shell commands that name files ("./test") or packages of this repository.
func checkCommands(root string, b block) (problems []problem) {
	for i, line := range strings.Split(b.text, "\n") {
		command, _, _ := strings.Cut(" "+line, " #")
		for _, word := range strings.Fields(command) {
			word = strings.Trim(word, `"'();`)
			path, isPackage := strings.CutPrefix(word, module)
			if !isPackage && !strings.HasPrefix(word, "./") {
				continue
			}
			path, _, _ = strings.Cut(strings.TrimSuffix(path, "..."), "@")
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				problems = append(problems, problem{b.file, b.line + i, word + " does not exist"})
			}
		}
	}
	return problems
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#+ (.*)$`)
	dropped = regexp.MustCompile(`\]\([^)]*\)|[^\pL\pN_ -]`) // from a heading, in the anchor that GitHub makes of it
)

// checkLinks checks the links to files of this repository, and to headings of documents.
func checkLinks(root, file string, prose []string) (problems []problem) {
	for i, line := range prose {
		for _, match := range link.FindAllStringSubmatch(line, -1) {
			if strings.Contains(match[1], ":") {
				continue
			}
			path, anchor, _ := strings.Cut(match[1], "#")
			target := prose
			if path != "" {
				text, err := os.ReadFile(filepath.Join(root, filepath.Dir(file), path))
				if os.IsNotExist(err) {
					problems = append(problems, problem{file, i + 1, path + " does not exist"})
					continue
				}
				_, target, _ = split(path, string(text))
			}
			if anchor != "" && (path == "" || filepath.Ext(path) == ".md") && !hasHeading(target, anchor) {
				problems = append(problems, problem{file, i + 1, match[1] + " names no heading"})
			}
		}
	}
	return problems
}

func hasHeading(prose []string, anchor string) bool {
	for _, line := range prose {
		if h := heading.FindStringSubmatch(line); h != nil {
			name := strings.ToLower(dropped.ReplaceAllString(h[1], ""))
			if strings.ReplaceAll(name, " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}
