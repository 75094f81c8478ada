package sys

const fionwrite = 0x40046677
