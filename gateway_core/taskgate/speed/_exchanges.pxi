# Exchanges: batches and answers that repeat.

cdef bytes DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
cdef bytes EXECUTE_SYNC = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
cdef enum:
    LONGEST_EXCHANGE = 4096


cdef Py_ssize_t put_skeleton(unsigned char* out, const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """-1: it has none. `out` has room for `size` bytes."""
    cdef Py_ssize_t at = 0, end, written = 0
    cdef unsigned char c, before
    while at < size:
        c = text[at]
        if c == 0x27 or c == 0x22 or c == 0x60 or c == 0x24 or c == 0x5C or c == 0x3B:
            return -1
        if (c < 0x20 and c != 0x09 and c != 0x0A and c != 0x0D) or c > 0x7E:
            return -1
        if at + 1 < size and ((c == 0x2D and text[at + 1] == 0x2D) or (c == 0x2F and text[at + 1] == 0x2A)):
            return -1
        if 48 <= c <= 57 and at > 0:
            before = text[at - 1]
            if before == 0x20 or before == 0x09 or before == 0x0A or before == 0x0D or before == 0x3D \
                    or before == 0x3C or before == 0x3E or before == 0x28 or before == 0x2C:
                end = at + 1
                while end < size and 48 <= text[end] <= 57:
                    end += 1
                if end - at <= 18 and (
                    end == size or text[end] == 0x20 or text[end] == 0x09 or text[end] == 0x0A or text[end] == 0x0D
                    or text[end] == 0x29 or text[end] == 0x2C
                ):
                    out[written] = 48
                    written += 1
                    at = end
                    continue
        out[written] = c
        written += 1
        at += 1
    return written


def skeleton(bytes text):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), written
    cdef unsigned char* out = <unsigned char*>malloc(size + 1)
    if out == NULL:
        raise MemoryError()
    try:
        written = put_skeleton(out, <const unsigned char*>PyBytes_AS_STRING(text), size)
        return None if written < 0 else PyBytes_FromStringAndSize(<char*>out, written)
    finally:
        free(out)


cdef object query_key(const unsigned char* data, Py_ssize_t total):
    cdef unsigned char out[LONGEST_EXCHANGE]
    cdef Py_ssize_t end, written
    if <Py_ssize_t><unsigned int>big32(data + 1) != total - 1 or memchr(data + 5, 0, total - 5) != data + total - 1:
        return None
    end = total - 2 if data[total - 2] == 0x3B else total - 1
    written = put_skeleton(out + 1, data + 5, end - 5)
    if written < 0:
        return b"q" + PyBytes_FromStringAndSize(<char*>data + 5, total - 6), []
    out[0] = 0x51
    if end < total - 1:
        out[1 + written] = 0x3B
        written += 1
    return PyBytes_FromStringAndSize(<char*>out, 1 + written), []


def exchange_key(bytes batch):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(batch), at = 0, size, end, name, count_at, position, length, kept
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(batch)
    cdef const void* found
    cdef int formats, count, index
    cdef list parameters
    cdef bytes key
    cdef char* out
    if 6 <= total <= LONGEST_EXCHANGE and data[0] == 0x51:
        return query_key(data, total)
    if total < 22 or total > LONGEST_EXCHANGE or memcmp(data + total - 15, PyBytes_AS_STRING(EXECUTE_SYNC), 15) != 0:
        return None
    if data[0] == 0x50:
        size = <Py_ssize_t><unsigned int>big32(data + 1)
        if size > total - 1:
            return None
        at = 1 + size
    if total - at < 22 or data[at] != 0x42:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 12 or end > total - 15:
        return None
    if end != total - 15 and (
        end != total - 22 or memcmp(data + end, PyBytes_AS_STRING(DESCRIBE_PORTAL), 7) != 0
    ):
        return None
    if data[at + 5] != 0:
        return None
    found = memchr(data + at + 6, 0, end - at - 6)
    if found == NULL:
        return None
    name = <const unsigned char*>found - data
    if end - name < 5:
        return None
    formats = big16(data + name + 1) & 0xFFFF
    count_at = name + 3 + 2 * formats
    if formats > 0x7FFF or end - count_at < 2:
        return None
    count = big16(data + count_at) & 0xFFFF
    if count > 0x7FFF:
        return None
    position = count_at + 2
    parameters = []
    for index in range(count):
        if end - position < 4:
            return None
        length = big32(data + position)
        position += 4
        if length == -1:
            parameters.append(None)
            continue
        if length < 0 or length > end - position:
            return None
        parameters.append(PyBytes_FromStringAndSize(<char*>data + position, length))
        position += length
    if end - position < 2 or end - position != 2 + 2 * <Py_ssize_t>(big16(data + position) & 0xFFFF):
        return None
    kept = count_at + 2 - (at + 5)
    key = PyBytes_FromStringAndSize(NULL, at + 1 + kept + total - position)
    out = PyBytes_AS_STRING(key)
    memcpy(out, data, at + 1)
    memcpy(out + at + 1, data + at + 5, kept)
    memcpy(out + at + 1 + kept, data + position, total - position)
    return key, parameters


def exchange_reply(bytes reply, bytes opening, int columns):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(reply), at = PyBytes_GET_SIZE(opening), size, end, position, length
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(reply)
    cdef Py_ssize_t rows = 0
    cdef int count, index
    if total < at or memcmp(data, PyBytes_AS_STRING(opening), at) != 0:
        return None
    while total - at >= 7 and data[at] == 0x44:
        size = <Py_ssize_t><unsigned int>big32(data + at + 1)
        end = at + 1 + size
        if size < 6 or end > total:
            return None
        count = big16(data + at + 5) & 0xFFFF
        if columns < 0:
            columns = count
        if count != columns:
            return None
        position = at + 7
        for index in range(count):
            if end - position < 4:
                return None
            length = big32(data + position)
            position += 4
            if length < -1 or length > end - position:
                return None
            if length > 0:
                position += length
        if position != end:
            return None
        rows += 1
        at = end
    if total - at < 12 or data[at] != 0x43:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 5 or end != total - 6 or data[end - 1] != 0 or memchr(data + at + 5, 0, end - 1 - at - 5) != NULL:
        return None
    if memcmp(data + end, b"Z\x00\x00\x00\x05", 5) != 0 or data[end + 5] not in (0x49, 0x54, 0x45):
        return None
    return at, rows, PyBytes_FromStringAndSize(<char*>data + at + 5, end - 1 - at - 5), data[end + 5]
