export declare const clone: string
export declare const build: string
export declare const stage: string
export declare const node24: string
export declare const imageStore: string
export declare const gridState: string
export declare const gridRun: string
