module lib

go 1.26.0
