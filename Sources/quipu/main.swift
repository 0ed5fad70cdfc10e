import Commands
import Foundation

// All of it lies in `Commands`, so that tests link a library and not this program: the program
// takes the language's runtime in (`Package.swift`), tests share one with their framework.
exit(await Program.run(Array(CommandLine.arguments.dropFirst())))
