export const b = (x: number) => x ** 2; export const unused = 1;
