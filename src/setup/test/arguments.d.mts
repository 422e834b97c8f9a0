export declare function readArguments(args: readonly string[]): { help: true } | { help: false, part: string | undefined, files: string[] }
