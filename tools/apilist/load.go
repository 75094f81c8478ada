package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
)

// listed is a package whose API is listed.
type listed struct {
	types *types.Package
	name  string            // its path in the module, or the module's name
	names map[string]string // the names that users write for internal types: see publicNames
}

// load returns the packages of the module in root that users can import, as they are on a system.
func load(root, system string) ([]listed, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Export,DepOnly,Module", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list on %s: %w\n%s", system, err, &stderr)
	}
	exports := map[string]string{} // the file with the types of each package
	var paths []string
	module := ""
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Export string
			DepOnly                  bool
			Module                   *struct{ Path string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("the output of go list on %s: %w", system, err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly && p.Name != "main" && !isInternal(p.ImportPath) {
			paths = append(paths, p.ImportPath)
			module = p.Module.Path
		}
	}
	i := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("go list has not exported the types of %s", path)
		}
		return os.Open(exports[path])
	})
	return importAll(i, module, paths)
}

func importAll(i types.Importer, module string, paths []string) (packages []listed, err error) {
	for _, p := range paths {
		loaded, err := i.Import(p)
		if err != nil {
			return nil, err
		}
		packages = append(packages, listed{types: loaded, name: nameIn(module, p)})
	}
	for k := range packages {
		packages[k].names = publicNames(packages, packages[k].types)
	}
	return packages, nil
}

// isInternal reports whether only this module can import a package.
func isInternal(importPath string) bool {
	return strings.Contains("/"+importPath+"/", "/internal/")
}

// nameIn returns the path of a package in a module: loop/frame; for the module's root, the name of
// the module.
func nameIn(module, importPath string) string {
	if importPath == module {
		return path.Base(module)
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// publicNames returns the name that users of the package from write for each internal type that
// has an alias in one of the packages, by the name that qualify gives the type.
func publicNames(packages []listed, from *types.Package) map[string]string {
	names := map[string]string{}
	for _, p := range packages {
		scope := p.types.Scope()
		for _, name := range scope.Names() {
			alias, ok := scope.Lookup(name).(*types.TypeName)
			if !ok || !alias.IsAlias() || !alias.Exported() {
				continue
			}
			target := internalTarget(alias)
			switch {
			case target == nil:
			case p.types == from:
				names[internalName(target)] = name
			case names[internalName(target)] == "":
				names[internalName(target)] = p.types.Name() + "." + name
			}
		}
	}
	return names
}

// internalTarget returns the type of an internal package that alias names, or nil.
func internalTarget(alias *types.TypeName) *types.TypeName {
	named, ok := types.Unalias(alias.Type()).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || !isInternal(named.Obj().Pkg().Path()) {
		return nil
	}
	return named.Obj()
}

// internalName returns the name that qualify gives a type.
func internalName(t *types.TypeName) string { return shortPath(t.Pkg().Path()) + "." + t.Name() }

// shortPath returns the path of an internal package from "internal" on.
func shortPath(importPath string) string {
	return importPath[strings.LastIndex("/"+importPath, "/internal/"):]
}
