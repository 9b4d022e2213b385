# Records of the journal.

cdef inline Py_ssize_t put_decimal(unsigned char* data, unsigned long long value) noexcept nogil:
    cdef unsigned char digits[20]
    cdef int count = 0, index
    while True:
        digits[count] = 48 + <unsigned char>(value % 10)
        count += 1
        value //= 10
        if not value:
            break
    for index in range(count):
        data[index] = digits[count - 1 - index]
    return count


cdef inline Py_ssize_t put_text(unsigned char* data, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(data, text, size)
    return size


cdef inline Py_ssize_t put_hex(unsigned char* data, const unsigned char* digest, Py_ssize_t size) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef Py_ssize_t index
    for index in range(size):
        data[2 * index] = digits[digest[index] >> 4]
        data[2 * index + 1] = digits[digest[index] & 15]
    return 2 * size


def record_header(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                  bytes commitment):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(prefix), named = PyBytes_GET_SIZE(kind)
    cdef Py_ssize_t before = PyBytes_GET_SIZE(previous), content = PyBytes_GET_SIZE(commitment), size
    cdef Py_ssize_t room = first + named + 2 * before + 2 * content + 100
    cdef unsigned char* data = <unsigned char*>malloc(room)
    if data == NULL:
        raise MemoryError()
    try:
        size = put_text(data, PyBytes_AS_STRING(prefix), first)
        size += put_decimal(data + size, seq)
        size += put_text(data + size, b',"kind":"', 9)
        size += put_text(data + size, PyBytes_AS_STRING(kind), named)
        size += put_text(data + size, b'","time":', 9)
        size += put_decimal(data + size, time)
        size += put_text(data + size, b',"previous":"', 13)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(previous), before)
        size += put_text(data + size, b'","commitment":"', 16)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(commitment), content)
        size += put_text(data + size, b'"}', 2)
        return PyBytes_FromStringAndSize(<char*>data, size)
    finally:
        free(data)


cdef inline void put_little(unsigned char* data, unsigned int value) noexcept nogil:
    data[0] = value & 0xFF
    data[1] = (value >> 8) & 0xFF
    data[2] = (value >> 16) & 0xFF
    data[3] = (value >> 24) & 0xFF


def record_frame(bytes header, bytes sealed):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(header), second = PyBytes_GET_SIZE(sealed)
    cdef Py_ssize_t size = 3 + first + second
    cdef bytes frame
    cdef unsigned char* data
    if first > 0xFFFF:
        raise OverflowError("header length")
    frame = PyBytes_FromStringAndSize(NULL, 8 + size)
    data = <unsigned char*>PyBytes_AS_STRING(frame)
    data[8] = 0x52
    data[9] = first & 0xFF
    data[10] = (first >> 8) & 0xFF
    memcpy(data + 11, PyBytes_AS_STRING(header), first)
    memcpy(data + 11 + first, PyBytes_AS_STRING(sealed), second)
    put_little(data, <unsigned int>size)
    put_little(data + 4, <unsigned int>crc32(PyMemoryView_FromMemory(<char*>data + 8, size, PyBUF_READ)))
    return frame


def seal_record(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                bytes plaintext, sha256, encrypt):
    cdef unsigned char nonce[12]
    cdef int index
    cdef bytes header = record_header(prefix, seq, kind, time, previous, sha256(plaintext).digest())
    for index in range(12):
        nonce[index] = 0 if index < 4 else (seq >> (8 * (11 - index))) & 0xFF
    sealed = encrypt(PyBytes_FromStringAndSize(<char*>nonce, 12), plaintext, None)
    return record_frame(header, sealed), sha256(header).digest()
