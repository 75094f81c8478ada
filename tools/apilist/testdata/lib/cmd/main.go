// Cmd is a program, which has no API.
package main

func Exported() {}

func main() {}
