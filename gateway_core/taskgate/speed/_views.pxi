# Views of a cell.

cdef int put_integer(Output* out, int64_t value) except -1:
    cdef bytes text = b"%d" % value
    reserve(out, 32)
    memcpy(out.data + out.size, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    out.size += PyBytes_GET_SIZE(text)
    return 0


cdef int put_integral(Output* out, double value) except -1:
    if -1e18 < value < 1e18 and value == <double><int64_t>value:
        put_integer(out, <int64_t>value)
    return 0


cdef int put_numeric(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef int groups, weight, sign, index, group, divisor, digit
    cdef bint leading = True
    if size < 8:
        raise ValueError("numeric cell")
    groups = big16(cell)
    weight = big16(cell + 2)
    sign = big16(cell + 4)
    if groups > 32767 or size != 8 + 2 * groups:
        raise ValueError("numeric cell")
    if (sign != 0 and sign != 0x4000) or weight >= MOST_DIGIT_GROUPS:
        return 0
    reserve(out, 4 * MOST_DIGIT_GROUPS + 8)
    for index in range(weight + 1):
        group = big16(cell + 8 + 2 * index) if index < groups else 0
        if group > 9999:
            raise ValueError("numeric cell")
        divisor = 1000
        while divisor:
            digit = group // divisor % 10
            if digit or not leading:
                leading = False
                out.data[out.size] = 48 + digit
                out.size += 1
            divisor //= 10
    return 0


cdef int put_float_text(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef char text[41]
    cdef char* end
    cdef Py_ssize_t index
    cdef double value
    cdef unsigned char c
    if size > 40 or size == 0:
        return 0
    for index in range(size):
        c = cell[index]
        if not (48 <= c <= 57 or c == 43 or c == 45 or c == 46 or c == 69 or c == 101):
            return 0
    memcpy(text, cell, size)
    text[size] = 0
    value = strtod(text, &end)
    if end == text + size:
        put_integral(out, value)
    return 0


cdef int put_float8(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef uint64_t bits
    cdef double value
    if size != 8:
        raise ValueError("float8 cell")
    bits = (<uint64_t><unsigned int>big32(cell) << 32) | <uint64_t><unsigned int>big32(cell + 4)
    memcpy(&value, &bits, 8)
    return put_integral(out, value)


cdef int end_view(Output* out, Places* places, Py_ssize_t begin, list found, bint placed) except -1:
    """Ends a view by NUL or, where `found` is a list, moves it there."""
    if found is None:
        reserve(out, 1)
        out.data[out.size] = 0
        out.size += 1
        return 0
    view = PyBytes_FromStringAndSize(<char*>out.data + begin, out.size - begin) if out.size > begin else b""
    if placed:
        found.append((view, memoryview(PyBytes_FromStringAndSize(
            <char*>places.data, places.size * sizeof(int32_t))).cast("i")))
    else:
        found.append((view, None))
    out.size = begin
    places.size = 0
    return 0


cdef int put_views(Output* out, Places* places, const unsigned char* cell, Py_ssize_t size, int kind,
                   list found) except -1:
    """Appends all views of a cell, each ended by NUL; or, where `found` is a list, adds them to it."""
    cdef Py_ssize_t at, length, begin = out.size, start = 0
    cdef int dimensions
    cdef bint escaped
    if kind >= K_ARRAY:
        if size < 12:
            raise ValueError("array cell")
        dimensions = big32(cell)
        if not 0 <= dimensions <= 6:
            raise ValueError("array cell")
        at = 12 + 8 * dimensions
        if at > size:
            raise ValueError("array cell")
        while at < size:
            if size - at < 4:
                raise ValueError("array cell")
            length = big32(cell + at)
            at += 4
            if length < -1 or length > size - at:
                raise ValueError("array cell")
            if length >= 0:
                put_views(out, places, cell + at, length, kind - K_ARRAY, found)
                at += length
        return 0
    if kind >= K_INT8:
        if kind == K_INT8:
            if size != 8:
                raise ValueError("int8 cell")
            put_integer(out, <int64_t>((<uint64_t><unsigned int>big32(cell) << 32)
                                       | <uint64_t><unsigned int>big32(cell + 4)))
        elif kind == K_NUMERIC:
            put_numeric(out, cell, size)
        elif kind == K_FLOAT8:
            put_float8(out, cell, size)
        elif kind == K_FLOAT_TEXT:
            put_float_text(out, cell, size)
        else:
            raise ValueError("kind of cell")
        return end_view(out, places, begin, found, False)
    if kind == K_JSONB:
        if size < 1 or cell[0] != 1:
            raise ValueError("jsonb cell")
        kind = K_JSON
        cell += 1
        size -= 1
        start = 1
    if kind == K_BYTEA and size >= 2 and cell[0] == 0x5C and cell[1] == 0x78:
        hex_runs(out, places, cell, size)
        return end_view(out, places, begin, found, True)
    escaped = size > 0 and memchr(cell, 0x5C, size) != NULL
    if kind != K_JSON or not escaped:
        if (not start or not places.wanted) and is_ascii(cell, size):
            reserve(out, size + 1)
            if size:
                memcpy(out.data + out.size, cell, size)
            out.size += size
            end_view(out, places, begin, found, False)
        else:
            fold(out, places, cell, size, False, start)
            end_view(out, places, begin, found, True)
    if escaped:
        begin = out.size
        fold(out, places, cell, size, True, start)
        end_view(out, places, begin, found, True)
        if kind == K_OPAQUE and has_hex(cell, size):
            begin = out.size
            hex_runs(out, places, cell, size)
            end_view(out, places, begin, found, True)
    return 0


cdef bint has_hex(const unsigned char* cell, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(size - 1):
        if cell[at] == 0x5C and cell[at + 1] == 0x78:
            return True
    return False


def views(bytes cell, int kind):
    cdef Output out
    cdef Places places
    cdef list found = []
    out.data = NULL
    out.bytes = NULL
    out.size = out.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = True
    try:
        put_views(&out, &places, <const unsigned char*>PyBytes_AS_STRING(cell), PyBytes_GET_SIZE(cell), kind, found)
    finally:
        free(out.data)
        free(places.data)
    return found
