# Messages in a buffer.

def complete_messages(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """How far whole PostgreSQL messages (type byte, 4-byte length that counts itself) reach from `start`.

    Returns the offset behind the last whole message. Raises ValueError on a length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        offset += length + 1
    return offset


def message_runs(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """The whole PostgreSQL messages from `start`, neighbours of one type as one item: (type, start, end, count).

    The last item's end is the offset behind the last whole message (none whole: an empty list). Raises ValueError on a
    length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length, begin = start, count = 0
    cdef int kind = -1
    cdef list runs = []
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        if buffer[offset] != kind:
            if count:
                runs.append((kind, begin, offset, count))
            kind = buffer[offset]
            begin = offset
            count = 0
        count += 1
        offset += length + 1
    if count:
        runs.append((kind, begin, offset, count))
    return runs
